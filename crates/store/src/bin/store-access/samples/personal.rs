//! What belongs to one user: keys, links, secrets, skills, settings.

use serde_json::json;
use stdx::Secret;
use stdx::ids::{UserSecretId, UserSkillId};
use store::api_keys::{DeleteKeysOfUser, FindLastUsedId, ListKeys};
use store::external_auth_links::{
    DeleteExternalAuthLink, GetExternalAuthLink, InsertExternalAuthLink, ListExternalAuthLinks,
    UpdateExternalAuthLink, UpdateRefreshToken,
};
use store::git_ssh_keys::{DeleteGitSshKey, GetGitSshKey, InsertGitSshKey, UpdateGitSshKey};
use store::user_configs::{ListUserConfigs, SetUserConfig};
use store::user_links::{
    FindByLinkedId, GetUserLink, InsertUserLink, ListClaimFields, ListClaimValues, ListUserLinks,
    SetLinkedId, Tokens, UpdateUserLink,
};
use store::user_secrets::{
    DeleteUserSecret, GetUserSecret, InsertUserSecret, ListUserSecrets, ListValues,
    UpdateUserSecret,
};
use store::user_skills::{
    DeleteUserSkill, GetUserSkill, InsertUserSkill, ListUserSkills, UpdateUserSkill,
};

use super::{NEW, NOW, ORGANIZATION, Refusal, USER, Visitor};

pub(crate) fn visit(v: &mut impl Visitor) {
    v.visit(ListKeys::default(), Refusal::Empty(Vec::is_empty));
    v.visit(FindLastUsedId { user_id: USER, now: NOW }, Refusal::Inputs);
    let only_application_connect = false;
    v.visit(DeleteKeysOfUser { user_id: USER, only_application_connect }, Refusal::Inputs);
    v.visit(ListUserConfigs { user_id: USER }, Refusal::Inputs);
    let (key, value) = ("theme_preference".to_owned(), "light".to_owned());
    v.visit(SetUserConfig { user_id: USER, key, value }, Refusal::Inputs);
    links(v);
    external(v);
    ssh_keys(v);
    secrets(v);
    skills(v);
}

fn links(v: &mut impl Visitor) {
    let linked_id = || "https://id.example.com||alice".to_owned();
    let oauth = Tokens::default;
    v.visit(FindByLinkedId { login_type: "oidc", linked_id: linked_id() }, Refusal::Inputs);
    v.visit(GetUserLink { user_id: USER, login_type: "oidc" }, Refusal::Inputs);
    v.visit(ListUserLinks { user_id: USER }, Refusal::Inputs);
    v.visit(
        InsertUserLink {
            id: NEW,
            user_id: USER,
            login_type: "github",
            linked_id: linked_id(),
            oauth: oauth(),
            claims: json!({}),
        },
        Refusal::Inputs,
    );
    v.visit(
        UpdateUserLink { user_id: USER, login_type: "oidc", oauth: oauth(), claims: json!({}) },
        Refusal::Inputs,
    );
    v.visit(
        SetLinkedId { user_id: USER, login_type: "oidc", linked_id: linked_id() },
        Refusal::Inputs,
    );
    v.visit(ListClaimFields { organization_id: None }, Refusal::Inputs);
    let organization_id = Some(ORGANIZATION);
    v.visit(ListClaimValues { organization_id, field: "groups".to_owned() }, Refusal::Inputs);
}

fn external(v: &mut impl Visitor) {
    let provider_id = || "github".to_owned();
    v.visit(GetExternalAuthLink { user_id: USER, provider_id: provider_id() }, Refusal::Inputs);
    v.visit(ListExternalAuthLinks { user_id: USER }, Refusal::Inputs);
    v.visit(
        InsertExternalAuthLink {
            id: NEW,
            user_id: USER,
            provider_id: "gitlab".to_owned(),
            oauth: Tokens::default(),
            oauth_extra: None,
            now: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(
        UpdateExternalAuthLink {
            user_id: USER,
            provider_id: provider_id(),
            oauth: Tokens::default(),
            oauth_extra: None,
            now: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(
        UpdateRefreshToken {
            user_id: USER,
            provider_id: provider_id(),
            known: Secret::from("refresh"),
            refresh: Secret::default(),
            failure_reason: "revoked".to_owned(),
            now: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(DeleteExternalAuthLink { user_id: USER, provider_id: provider_id() }, Refusal::Inputs);
}

fn ssh_keys(v: &mut impl Visitor) {
    let (private_key, public_key) = (|| Secret::from("private"), || "ssh-ed25519 AAAA".to_owned());
    v.visit(GetGitSshKey { user_id: USER }, Refusal::Inputs);
    v.visit(
        InsertGitSshKey {
            id: NEW,
            user_id: USER,
            private_key: private_key(),
            public_key: public_key(),
            now: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(
        UpdateGitSshKey {
            user_id: USER,
            private_key: private_key(),
            public_key: public_key(),
            now: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(DeleteGitSshKey { user_id: USER }, Refusal::Inputs);
}

fn secrets(v: &mut impl Visitor) {
    let name = || "npm".to_owned();
    v.visit(GetUserSecret { user_id: USER, name: name() }, Refusal::Inputs);
    v.visit(ListUserSecrets { user_id: USER }, Refusal::Inputs);
    v.visit(ListValues { user_id: USER }, Refusal::Inputs);
    v.visit(
        InsertUserSecret {
            id: UserSecretId::new(NEW),
            user_id: USER,
            name: "new".to_owned(),
            description: String::new(),
            value: Secret::from("secret"),
            env_name: String::new(),
            file_path: String::new(),
            now: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(
        UpdateUserSecret {
            user_id: USER,
            name: name(),
            description: None,
            value: None,
            env_name: None,
            file_path: None,
            now: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(DeleteUserSecret { user_id: USER, name: name() }, Refusal::Inputs);
}

fn skills(v: &mut impl Visitor) {
    let name = || "review".to_owned();
    v.visit(GetUserSkill { user_id: USER, name: name() }, Refusal::Inputs);
    v.visit(ListUserSkills { user_id: USER }, Refusal::Inputs);
    v.visit(
        InsertUserSkill {
            id: UserSkillId::new(NEW),
            user_id: USER,
            name: "new".to_owned(),
            description: String::new(),
            content: String::new(),
            now: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(
        UpdateUserSkill {
            user_id: USER,
            name: name(),
            description: String::new(),
            content: String::new(),
            now: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(DeleteUserSkill { user_id: USER, name: name() }, Refusal::Inputs);
}
