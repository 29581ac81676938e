//! Variables of the servers whose APIs Atoll speaks. Their names are of everybody (`PORT`), so they count only for
//! `atoll serve`, and only where nothing that is Atoll's own says otherwise. It must not read the environment itself.

use std::net::{Ipv4Addr, SocketAddr};

use crate::{
    config::ServeOptions,
    failure::{Failure, Outcome},
};

/// Variables that are understood and have no counterpart, each with why.
const WITHOUT_COUNTERPART: [(&str, &str); 2] = [
    ("DB_PATH", "the database is in the data directory (--data-dir)"),
    ("VM_PASSWORD", "commands reach a machine without a login"),
];

impl ServeOptions {
    /// Fills what neither the command line nor Atoll's own variables nor the file gave.
    pub(crate) fn with_aliases(mut self, variable: impl Fn(&str) -> Option<String>) -> Outcome<Self> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        if self.listen.is_empty()
            && let Some(text) = variable("PORT")
        {
            let port = text.parse::<u16>().map_err(|_| {
                Failure::new(format!("PORT: {text:?} is no port")).hint("unset PORT, or say --listen")
            })?;
            self.listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))];
        }
        self.base_vm = self.base_vm.or_else(|| variable("BASE_VM"));
        self.vm_user = self.vm_user.or_else(|| variable("VM_USER"));
        Ok(self)
    }
}

/// What is to be said about variables that are set in vain.
pub(crate) fn notes(variable: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let set = WITHOUT_COUNTERPART.iter().filter(|(name, _)| variable(name).is_some());
    set.map(|(name, why)| format!("{name} does nothing: {why}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        move |wanted| pairs.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn they_count_where_nothing_else_is_said() {
        let set = from(&[("PORT", "4000"), ("BASE_VM", "host"), ("VM_USER", "daemon")]);
        let filled = ServeOptions::default().with_aliases(&set).unwrap();
        assert_eq!(filled.addresses(), ["127.0.0.1:4000".parse().unwrap()]);
        assert_eq!((filled.base_vm.as_deref(), filled.vm_user.as_deref()), (Some("host"), Some("daemon")));
        let own = ServeOptions {
            listen: vec!["127.0.0.1:1".parse().unwrap()],
            base_vm: Some("dev-1".to_owned()),
            vm_user: Some("root".to_owned()),
            ..ServeOptions::default()
        };
        let kept = own.with_aliases(&set).unwrap();
        assert_eq!(kept.addresses(), ["127.0.0.1:1".parse().unwrap()]);
        assert_eq!((kept.base_vm.as_deref(), kept.vm_user.as_deref()), (Some("dev-1"), Some("root")));
    }

    #[test]
    fn a_wrong_one_is_refused_only_where_it_counts() {
        let set = from(&[("PORT", "http")]);
        assert!(ServeOptions::default().with_aliases(&set).is_err());
        let own = ServeOptions { listen: vec!["127.0.0.1:1".parse().unwrap()], ..ServeOptions::default() };
        assert!(own.with_aliases(&set).is_ok());
        let empty = ServeOptions::default().with_aliases(from(&[("PORT", "")])).unwrap();
        assert!(empty.listen.is_empty());
    }

    #[test]
    fn an_image_that_there_is_not_is_refused() {
        let of = |name| {
            let filled = ServeOptions::default().with_aliases(from(&[("BASE_VM", name)])).unwrap();
            filled.api_settings(Vec::new()).map(|settings| settings.vms.base_vm)
        };
        assert_eq!((of("host").unwrap(), of("").unwrap()), ("host".to_owned(), "dev-1".to_owned()));
        assert!(of("ubuntu").is_err());
    }

    #[test]
    fn what_does_nothing_says_so() {
        assert_eq!(notes(from(&[("DB_PATH", "./vms.db")])).len(), 1);
        assert!(notes(from(&[])).is_empty());
    }
}
