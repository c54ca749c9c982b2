use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use stdx::Secret;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Timestamp;

/// An AI provider; never a key or a secret setting.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct AiProvider {
    pub id: Uuid,
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
    /// The name when none was given.
    pub display_name: String,
    #[serde(default)]
    pub icon: String,
    pub enabled: bool,
    pub base_url: String,
    pub api_keys: Vec<AiProviderKey>,
    /// Options of the type without their secrets, or null.
    pub settings: Option<serde_json::Value>,
    /// Why a stored key or the settings cannot be opened: which encryption key is missing, or which row is damaged.
    /// Such a key is masked to nothing, such settings are null. They can be replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A stored key, masked.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct AiProviderKey {
    pub id: Uuid,
    /// The first and last characters.
    pub masked: String,
    pub created_at: Timestamp,
}

/// `POST /api/v2/ai/providers`
#[derive(Debug, Deserialize, ToSchema)]
pub struct CreateAiProviderRequest {
    /// `openai`, `anthropic`, `azure`, `bedrock`, `google`, `openai-compat`, `openrouter`, `vercel`, `copilot`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Part of the gateway's URLs: lower-case letters, digits and single inner hyphens.
    #[serde(default)]
    pub name: String,
    /// For people; absent = the name.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Picture.
    #[serde(default)]
    pub icon: String,
    /// Absent = true.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// Absolute `http` or `https` URL.
    #[serde(default)]
    pub base_url: String,
    /// Keys in the order of failover, at most 5.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub api_keys: Vec<Secret<String>>,
    /// Options of the type.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub settings: Option<Box<RawValue>>,
}

/// `PATCH /api/v2/ai/providers/{idOrName}`: absent fields stay as they are.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct UpdateAiProviderRequest {
    /// For people; empty = the name.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Picture.
    #[serde(default)]
    pub icon: Option<String>,
    /// Whether it serves.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// Absolute `http` or `https` URL.
    #[serde(default)]
    pub base_url: Option<String>,
    /// The full desired list: kept ones by id, new ones in the clear.
    #[serde(default)]
    pub api_keys: Option<Vec<AiProviderKeyMutation>>,
    /// Options of the type; `null` clears them.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Object>)]
    pub settings: Option<Option<Box<RawValue>>>,
}

/// Tells an explicit `null` from absence.
#[expect(clippy::option_option, reason = "absent, null and an object are three things")]
fn present<'de, D>(deserializer: D) -> Result<Option<Option<Box<RawValue>>>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    Box::<RawValue>::deserialize(deserializer)
        .map(|raw| Some(Some(raw).filter(|raw| raw.get() != "null")))
}

/// An entry of the desired key list: exactly one of the two.
#[derive(Debug, Deserialize, ToSchema)]
pub struct AiProviderKeyMutation {
    /// A key to keep.
    #[serde(default)]
    pub id: Option<Uuid>,
    /// A key to add.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub api_key: Option<Secret<String>>,
}
