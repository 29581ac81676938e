//! What is known of who asks, and the usual demands on it.

use std::sync::Arc;

use axum::http::Extensions;
use engine::{Caller, Key};

use super::Refusal;

/// Who asks: an extension of every request.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The key that was presented, or why it can't be said whose request this is.
    pub(super) who: Result<Arc<Key>, Refusal>,
    /// There never was a key, and the request came where that means: everybody may do everything.
    pub(super) open: bool,
    /// There never was an administrator's key, and the request came on a loopback listener.
    pub(super) first_keys: bool,
}

impl Identity {
    /// Of a request's extensions. Where nobody has found out who asks, nobody does.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        let nobody = Self { who: Err(Refusal::Missing), open: false, first_keys: false };
        extensions.get().cloned().unwrap_or(nobody)
    }

    /// A key, or an open server: for dialects whose documents ask for no key.
    pub(crate) fn key_or_open(&self) -> Result<(), Refusal> {
        self.caller().map(|_| ())
    }

    /// A key, on every server: for dialects whose documents ask for one.
    pub(crate) fn key_always(&self) -> Result<(), Refusal> {
        self.key().map(|_| ())
    }

    /// An administrator's key; none as long as there never was one, on a loopback listener: the first keys
    /// must come from somewhere.
    pub(crate) fn admin_or_first_keys(&self) -> Result<(), Refusal> {
        match &self.who {
            _ if self.first_keys => Ok(()),
            Ok(key) if key.admin => Ok(()),
            Ok(_) => Err(Refusal::NotAdmin),
            Err(refusal) => Err(refusal.clone()),
        }
    }

    /// The key.
    pub(crate) fn key(&self) -> Result<&Key, Refusal> {
        self.who.as_deref().map_err(Clone::clone)
    }

    /// Who asks, for the engine.
    pub(crate) fn caller(&self) -> Result<Caller, Refusal> {
        match &self.who {
            Ok(key) => Ok(key.caller()),
            Err(Refusal::Broken(text)) => Err(Refusal::Broken(text.clone())),
            Err(_) if self.open => Ok(Caller::open()),
            Err(refusal) => Err(refusal.clone()),
        }
    }

    /// The same, and nobody in particular where no key is needed.
    pub(crate) fn caller_or_nobody(&self) -> Caller {
        self.caller().unwrap_or(Caller { owner: String::new(), administrator: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(admin: bool) -> Result<Arc<Key>, Refusal> {
        let (prefix, created_at) = ("ws_000000".to_owned(), jiff::Timestamp::UNIX_EPOCH);
        Ok(Arc::new(Key { id: 7, prefix, name: None, admin, created_at, revoked_at: None }))
    }

    fn identity(who: Result<Arc<Key>, Refusal>, open: bool, first_keys: bool) -> Identity {
        Identity { who, open, first_keys }
    }

    #[test]
    fn a_closed_server_asks_for_a_key() {
        for refusal in [Refusal::Missing, Refusal::Invalid, Refusal::Several] {
            let nobody = identity(Err(refusal.clone()), false, false);
            assert_eq!(nobody.key_or_open(), Err(refusal.clone()));
            assert_eq!(nobody.key_always(), Err(refusal.clone()));
            assert_eq!(nobody.admin_or_first_keys(), Err(refusal));
        }
        let user = identity(key(false), false, false);
        assert_eq!((user.key_or_open(), user.key_always()), (Ok(()), Ok(())));
        assert_eq!(user.admin_or_first_keys(), Err(Refusal::NotAdmin));
        assert_eq!(identity(key(true), false, false).admin_or_first_keys(), Ok(()));
    }

    #[test]
    fn an_open_server_asks_only_where_the_document_does() {
        for refusal in [Refusal::Missing, Refusal::Invalid] {
            let nobody = identity(Err(refusal.clone()), true, true);
            assert_eq!(nobody.caller(), Ok(Caller::open()));
            assert_eq!(nobody.key_always(), Err(refusal));
            assert_eq!(nobody.admin_or_first_keys(), Ok(()));
        }
    }

    #[test]
    fn keys_that_cannot_be_read_open_nothing() {
        let broken = identity(Err(Refusal::Broken("why".to_owned())), true, false);
        assert!(broken.key_or_open().is_err() && broken.key_always().is_err());
        assert!(broken.admin_or_first_keys().is_err());
    }

    #[test]
    fn a_request_that_nobody_has_looked_at_is_nobodys() {
        let unknown = Identity::of(&Extensions::new());
        assert_eq!(unknown.key_or_open(), Err(Refusal::Missing));
        assert_eq!(unknown.admin_or_first_keys(), Err(Refusal::Missing));
    }

    #[test]
    fn the_caller_is_the_key() {
        let caller = identity(key(false), false, false).caller().unwrap();
        assert_eq!(caller, Caller { owner: "key:7".to_owned(), administrator: false });
    }
}
