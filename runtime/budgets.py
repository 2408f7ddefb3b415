"""What models may cost: the settings, and what an account may set in their place."""

from typing import Annotated

from pydantic_settings import BaseSettings

from batching.limits import Budget
from runtime.bounds import Whole

ConversationHour = Annotated[int, Whole(1, 10_000)]
AccountDay = Annotated[int, Whole(1, 1_000_000)]
InstallationDay = Annotated[int, Whole(1, 10_000_000)]


class BudgetSettings(BaseSettings):
    """The most questions to models, failed ones included; past them batches wait."""

    budget_conversation_hour: ConversationHour = 60
    budget_account_day: AccountDay = 2_000
    budget_installation_day: InstallationDay = 10_000

    def budget(self) -> Budget:
        """Return the budget of an account that overrides none."""
        return Budget(
            conversation_hour=self.budget_conversation_hour,
            account_day=self.budget_account_day,
            installation_day=self.budget_installation_day,
        )
