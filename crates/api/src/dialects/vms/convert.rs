//! Where this dialect's words and the engine's meet.

use engine::{Key, KeySecret};

use super::types::{KeyBody, KeyMadeBody, KeysBody, MeBody, Seconds};

/// A key that was just made, with its secret.
pub(super) fn key_made_body(key: Key, secret: &KeySecret) -> KeyMadeBody {
    KeyMadeBody {
        id: key.id,
        key: secret.expose().to_owned(),
        name: key.name,
        created_at: Seconds(key.created_at),
        message: "Save your API key - it won't be shown again!",
    }
}

/// The keys that count. The dialect has no word for a revoked one.
pub(super) fn keys_body(keys: Vec<Key>) -> KeysBody {
    let counting = keys.into_iter().filter(|key| key.revoked_at.is_none());
    KeysBody { api_keys: counting.map(key_body).collect() }
}

fn key_body(key: Key) -> KeyBody {
    KeyBody {
        id: key.id,
        key: format!("{}...", key.prefix),
        name: key.name,
        created_at: Seconds(key.created_at),
    }
}

/// Whose key this is.
pub(super) fn me_body(key: Key) -> MeBody {
    MeBody { api_key_id: key.id, api_key_name: key.name, created_at: Seconds(key.created_at) }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_masked_and_leave_out_revoked_keys() {
        let key = |id, revoked_at| Key {
            id,
            prefix: "ws_a1b2c3".to_owned(),
            name: None,
            admin: false,
            created_at: Timestamp::UNIX_EPOCH,
            revoked_at,
        };
        let body = keys_body(vec![key(2, None), key(1, Some(Timestamp::UNIX_EPOCH))]);
        let expected = json!({"api_keys": [
            {"id": 2, "key": "ws_a1b2c3...", "name": null, "created_at": "1970-01-01T00:00:00"}
        ]});
        assert_eq!(serde_json::to_value(body).unwrap(), expected);
    }
}
