use rbac::{Action, Resource};
use stdx::Secret;
use store::ai_budgets::{
    AddSpend, DeleteBudgetOverride, DeleteGroupBudget, FindEffectiveBudget, FindGroupBudget,
    GetBudgetOverride, GetSpend, UpsertBudgetOverride, UpsertGroupBudget,
};
use store::ai_prices::{FindPrice, UpsertPrices};
use store::ai_seats::{CountSeats, ListSeats, ListUsersWithSeat, TakeSeat};
use store::own_provider_keys::{DeleteOwnKey, GetOwnKey, ListOwnKeys, UpsertOwnKey};

use super::{GROUP, NEW, NOW, PROVIDER, Refusal, USER, Visitor};

pub(super) fn visit(v: &mut impl Visitor) {
    let (user_id, group_id, now) = (USER, GROUP, NOW);
    let spend_limit_micros = 1;
    v.visit(FindGroupBudget { group_id }, Refusal::Row(Action::Read, Resource::Group));
    v.visit(
        UpsertGroupBudget { group_id, spend_limit_micros, now },
        Refusal::Row(Action::Update, Resource::Group),
    );
    v.visit(DeleteGroupBudget { group_id }, Refusal::Row(Action::Update, Resource::Group));
    v.visit(FindEffectiveBudget { user_id }, Refusal::Inputs);
    v.visit(GetBudgetOverride { user_id }, Refusal::Inputs);
    v.visit(
        UpsertBudgetOverride { user_id, group_id, spend_limit_micros, now },
        Refusal::Row(Action::Update, Resource::User),
    );
    v.visit(DeleteBudgetOverride { user_id }, Refusal::Row(Action::Update, Resource::User));
    let day = NOW.date();
    v.visit(AddSpend { user_id, group_id, day, micros: 1 }, Refusal::Inputs);
    v.visit(GetSpend { user_id, group_id, since: day }, Refusal::Inputs);

    let (provider, model) = ("anthropic".to_owned(), "claude-sonnet-4-5".to_owned());
    v.visit(UpsertPrices(Vec::new()), Refusal::Inputs);
    v.visit(FindPrice { provider, model, at: NOW }, Refusal::Inputs);

    let event_description = String::new();
    v.visit(TakeSeat { user_id, event_type: "task", event_description, now }, Refusal::Inputs);
    v.visit(ListSeats { after: None, limit: 10 }, Refusal::Inputs);
    v.visit(CountSeats, Refusal::Inputs);
    v.visit(ListUsersWithSeat { ids: vec![user_id] }, Refusal::Inputs);

    let provider_id = PROVIDER;
    v.visit(GetOwnKey { user_id, provider_id }, Refusal::Inputs);
    v.visit(ListOwnKeys { user_id }, Refusal::Inputs);
    v.visit(
        UpsertOwnKey { id: NEW, user_id, provider_id, api_key: Secret::from("sk-own"), now },
        Refusal::Inputs,
    );
    v.visit(DeleteOwnKey { user_id, provider_id }, Refusal::Inputs);
}
