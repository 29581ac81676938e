//! The resolver of sandboxes with a network policy: it answers for names that the policy allows, and has the launcher
//! let their addresses through before whoever asked learns them.
//!
//! It asks the host's name servers and keeps no cache but of what a policy is about. A sandbox is known by its address:
//! the rules that lead its questions here see to it that it has no other. What each may ask at once, and in a second, is
//! bounded.

mod doors;
mod known;
mod message;
mod rate;
mod upstream;

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use jail::launcher::Resolver;
use protocol::{
    SandboxId,
    launcher::KnownAddress,
    policy::{Action, NetworkPolicy},
};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use self::{
    known::Known,
    message::{Answer, Question},
    rate::Rate,
    upstream::Upstream,
};
use super::link::Link;
use crate::runtime::RuntimeError;

/// Questions of one sandbox that are answered at once, and its connections.
const QUESTIONS_MAX: usize = 64;
const CONNECTIONS_MAX: usize = 8;
/// How often names that are denied are looked up: their addresses change.
const REVIEW: Duration = Duration::from_secs(30);
/// How many are looked up at once.
const REVIEWED_AT_ONCE: usize = 16;
/// How long whoever sets a policy waits until the addresses of the names that it denies are known.
const DENIED_PATIENCE: Duration = Duration::from_secs(3);
/// How long an address of a denied name stays denied after it was last seen.
const DENIED_SECONDS: u32 = known::LONGEST;

/// Everything about names, for all sandboxes that have a policy.
pub(super) struct Names {
    link: Link,
    upstream: Upstream,
    guarded: Mutex<HashMap<IpAddr, Arc<Guarded>>>,
}

/// A sandbox with a policy.
struct Guarded {
    sandbox: SandboxId,
    rate: Mutex<Rate>,
    questions: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    /// Held while the launcher is told: it hears of addresses and policies in the order in which they count.
    rules: tokio::sync::Mutex<Rules>,
}

struct Rules {
    policy: NetworkPolicy,
    known: Known,
}

impl Guarded {
    /// A place to ask a question in, unless too much is asked.
    fn place_take(&self) -> Option<OwnedSemaphorePermit> {
        if !self.rate.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now()) {
            return None;
        }
        Arc::clone(&self.questions).try_acquire_owned().ok()
    }
}

impl Names {
    /// Answers from now on. Must be called within a tokio runtime.
    pub(super) fn start(link: Link, resolver: Resolver) -> std::io::Result<Arc<Self>> {
        let Resolver { udp, tcp, nameservers } = resolver;
        let (udp, tcp) = (UdpSocket::from_std(udp)?, TcpListener::from_std(tcp)?);
        let names = Arc::new(Self { link, upstream: Upstream(nameservers), guarded: Mutex::default() });
        tokio::spawn(doors::datagrams(Arc::clone(&names), udp));
        tokio::spawn(doors::connections(Arc::clone(&names), tcp));
        tokio::spawn(review(Arc::clone(&names)));
        Ok(names)
    }

    fn guarded(&self, from: IpAddr) -> Option<Arc<Guarded>> {
        self.table().get(&from).cloned()
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, Arc<Guarded>>> {
        self.guarded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a policy in force for a sandbox that runs, in the place of the one it had.
    pub(super) async fn policy_set(
        &self,
        sandbox: SandboxId,
        policy: NetworkPolicy,
    ) -> Result<(), RuntimeError> {
        let had = self.table().values().find(|guarded| guarded.sandbox == sandbox).cloned();
        let guarded = had.unwrap_or_else(|| {
            Arc::new(Guarded {
                sandbox,
                rate: Mutex::new(Rate::new(Instant::now())),
                questions: Arc::new(Semaphore::new(QUESTIONS_MAX)),
                connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
                rules: tokio::sync::Mutex::new(Rules { policy: policy.clone(), known: Known::default() }),
            })
        });
        let mut rules = guarded.rules.lock().await;
        let known = rules.known.under(&policy, Instant::now());
        let set = |policy: NetworkPolicy, known: Vec<KnownAddress>| {
            self.link.ask(move |launcher| {
                let (policy, known) = (policy.clone(), known.clone());
                async move { launcher.network_policy_set(sandbox, policy, known).await }
            })
        };
        let address = set(policy.clone(), known).await?;
        rules.policy = policy;
        let denied: Vec<String> = rules.policy.denied_names().map(str::to_owned).collect();
        drop(rules);
        self.table().insert(address.into(), Arc::clone(&guarded));
        if !denied.is_empty() {
            let looked_up =
                self.denied_look_up(denied.into_iter().map(|name| (name, vec![Arc::clone(&guarded)])));
            let _ = timeout(DENIED_PATIENCE, looked_up).await;
        }
        Ok(())
    }

    /// Answers no more questions of a sandbox.
    pub(super) fn forget(&self, sandbox: SandboxId) {
        self.table().retain(|_, guarded| guarded.sandbox != sandbox);
    }

    /// The answer to a question of a sandbox.
    async fn answer(&self, guarded: &Guarded, question: Question, is_datagram: bool) -> Option<Vec<u8>> {
        let (action, is_leak) = {
            let rules = guarded.rules.lock().await;
            let decision = rules.policy.of_name(&question.name);
            // To ask for a name that the sandbox chose tells its domain something.
            let is_leak =
                rules.policy.default_action() == Action::Deny || decision.rank == rules.policy.rules().len();
            (decision.action, is_leak)
        };
        if action == Action::Deny {
            if !is_leak {
                self.denied_learn(&question.name, &[guarded]).await;
            }
            return question.refuse();
        }
        let Some(answer) = self.upstream.ask(&question).await else { return question.fail() };
        match self.learn(guarded, &question.name, &answer).await {
            Ok(true) => question.answer(answer, is_datagram),
            Ok(false) => question.refuse(),
            Err(error) => {
                tracing::warn!(sandbox = %guarded.sandbox, ?error, "addresses can't be let through");
                question.fail()
            }
        }
    }

    /// Has the addresses of an answer let through, or not, as the policy of this moment has it. Returns whether the
    /// answer may be given.
    async fn learn(&self, guarded: &Guarded, name: &str, answer: &Answer) -> Result<bool, RuntimeError> {
        let mut rules = guarded.rules.lock().await;
        let Rules { policy, known } = &mut *rules;
        if policy.of_name(name).action == Action::Deny || answer.is_denied(policy, name) {
            return Ok(false);
        }
        let verdicts = known.learn(policy, name, &answer.addresses, Instant::now());
        self.tell(guarded.sandbox, verdicts).await?;
        Ok(true)
    }

    async fn tell(&self, sandbox: SandboxId, verdicts: Vec<KnownAddress>) -> Result<(), RuntimeError> {
        if verdicts.is_empty() {
            return Ok(());
        }
        self.link
            .ask(|launcher| {
                let verdicts = verdicts.clone();
                async move { launcher.network_addresses(sandbox, verdicts).await }
            })
            .await
    }

    /// Looks up names that are denied, each for these sandboxes.
    async fn denied_look_up(&self, names: impl Iterator<Item = (String, Vec<Arc<Guarded>>)>) {
        futures::stream::iter(names)
            .for_each_concurrent(REVIEWED_AT_ONCE, |(name, sandboxes)| async move {
                let sandboxes: Vec<&Guarded> = sandboxes.iter().map(Arc::as_ref).collect();
                self.denied_learn(&name, &sandboxes).await;
            })
            .await;
    }

    /// Looks up a name that is denied, and has its addresses closed.
    async fn denied_learn(&self, name: &str, sandboxes: &[&Guarded]) {
        let Some(question) = Question::of_name(name) else { return };
        let Some(answer) = self.upstream.ask(&question).await else { return };
        let addresses: Vec<(Ipv4Addr, u32)> =
            answer.addresses.iter().map(|(address, _)| (*address, DENIED_SECONDS)).collect();
        for guarded in sandboxes {
            let mut rules = guarded.rules.lock().await;
            let Rules { policy, known } = &mut *rules;
            let verdicts = known.learn(policy, name, &addresses, Instant::now());
            if let Err(error) = self.tell(guarded.sandbox, verdicts).await {
                tracing::debug!(sandbox = %guarded.sandbox, ?error, "addresses of a denied name can't be closed");
            }
        }
    }
}

/// Looks up denied names again and again.
async fn review(names: Arc<Names>) {
    loop {
        tokio::time::sleep(REVIEW).await;
        let sandboxes: Vec<Arc<Guarded>> = names.table().values().cloned().collect();
        let mut denied: BTreeMap<String, Vec<Arc<Guarded>>> = BTreeMap::new();
        for guarded in sandboxes {
            let rules = guarded.rules.lock().await;
            for name in rules.policy.denied_names() {
                denied.entry(name.to_owned()).or_default().push(Arc::clone(&guarded));
            }
        }
        names.denied_look_up(denied.into_iter()).await;
    }
}
