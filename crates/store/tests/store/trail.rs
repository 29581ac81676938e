//! Events and counters.

use protocol::SandboxId;
use store::{Batch, Counter, Event, EventEntry};

use crate::fixture::{Fixture, event};

fn seqs(entries: &[EventEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.seq).collect()
}

#[tokio::test]
async fn events_are_listed_newest_first_by_page_and_by_sandbox() {
    let store = Fixture::new().open();
    let (one, two) = (SandboxId::random(), SandboxId::random());
    let general = Event { sandbox: None, kind: "server.started".to_owned(), ..event(one) };
    for event in [event(one), event(two), general.clone(), event(one)] {
        store.apply(Batch::new().event_append(event)).await.unwrap();
    }
    let all = store.event_list(10, None, None).await.unwrap();
    assert_eq!(seqs(&all), [4, 3, 2, 1]);
    assert_eq!((&all[1].event, &all[2].event), (&general, &event(two)));
    assert_eq!(seqs(&store.event_list(2, None, None).await.unwrap()), [4, 3]);
    assert_eq!(seqs(&store.event_list(2, Some(3), None).await.unwrap()), [2, 1]);
    assert_eq!(seqs(&store.event_list(10, None, Some(one)).await.unwrap()), [4, 1]);
    assert_eq!(seqs(&store.event_list(10, Some(4), Some(one)).await.unwrap()), [1]);
    assert!(store.event_list(10, Some(u64::MAX), Some(SandboxId::random())).await.unwrap().is_empty());
}

#[tokio::test]
async fn only_the_newest_hundred_thousand_events_are_kept() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let id = SandboxId::random();
    for _ in 0..101 {
        let batch = (0..1000).fold(Batch::new(), |batch, _| batch.event_append(event(id)));
        store.apply(batch).await.unwrap();
    }
    let kept = seqs(&store.event_list(u32::MAX, None, None).await.unwrap());
    assert_eq!(kept.first(), Some(&101_000));
    assert!((100_000..100_256).contains(&kept.len()), "{}", kept.len());
    drop(store);
    let store = fixture.open();
    store.apply(Batch::new().event_append(event(id))).await.unwrap();
    assert_eq!(seqs(&store.event_list(1, None, None).await.unwrap()), [101_001]);
}

#[tokio::test]
async fn counters_add_up_over_a_restart() {
    let fixture = Fixture::new();
    let store = fixture.open();
    assert_eq!(store.counter_get(Counter::SandboxesCreated).await.unwrap(), 0);
    for by in [1, 0, 41] {
        store.apply(Batch::new().counter_add(Counter::SandboxesCreated, by)).await.unwrap();
    }
    drop(store);
    let store = fixture.open();
    assert_eq!(store.counter_get(Counter::SandboxesCreated).await.unwrap(), 42);
}
