"""All suites of cases."""

from tests.interop.cases.faststream import FASTSTREAM
from tests.interop.cases.nestjs import NESTJS
from tests.interop.cases.plain import PLAIN_SUITES, TRANSACTIONS
from tests.interop.cases.quarkus import QUARKUS
from tests.interop.cases.spring import SPRING

SUITES = (SPRING, NESTJS, QUARKUS, *FASTSTREAM, *PLAIN_SUITES, TRANSACTIONS)
