//! Batches: atomic, together, and never lost once handed over.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use store::{Batch, Counter, Page, SandboxFilter, SandboxState, StoreError};

use crate::fixture::{Fixture, event, record};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_writers_at_once_are_all_there_after_a_restart() {
    let fixture = Fixture::new();
    let store = Arc::new(fixture.open());
    let writers: Vec<_> = (0..1000)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut record = record();
                let batch = Batch::new()
                    .sandbox_insert(record.clone(), Some(record.id.to_string().into_bytes()))
                    .event_append(event(record.id))
                    .counter_add(Counter::SandboxesCreated, 1);
                store.apply(batch).await.unwrap();
                assert_eq!(store.sandbox_get(record.id).await.unwrap(), record);
                record.state = SandboxState::Running;
                store.apply(Batch::new().sandbox_update(record.clone())).await.unwrap();
                record
            })
        })
        .collect();
    let mut records = Vec::new();
    for writer in writers {
        records.push(writer.await.unwrap());
    }
    drop(store);
    let store = fixture.open();
    for record in records {
        assert_eq!(store.sandbox_get(record.id).await.unwrap(), record);
        let program = store.program_get(record.id).await.unwrap();
        assert_eq!(program, Some(record.id.to_string().into_bytes()));
    }
    assert_eq!(store.sandbox_list(SandboxFilter::default(), Page::ALL).await.unwrap().total, 1000);
    assert_eq!(store.event_list(u32::MAX, None, None).await.unwrap().len(), 1000);
    assert_eq!(store.counter_get(Counter::SandboxesCreated).await.unwrap(), 1000);
}

#[tokio::test]
async fn a_batch_that_fails_leaves_nothing() {
    let store = Fixture::new().open();
    let (inserted, absent) = (record(), record());
    let batch = Batch::new()
        .counter_add(Counter::SandboxesCreated, 1)
        .event_append(event(inserted.id))
        .sandbox_insert(inserted.clone(), Some(vec![1]))
        .sandbox_update(absent);
    let error = store.apply(batch).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
    assert_eq!(store.sandbox_list(SandboxFilter::default(), Page::ALL).await.unwrap().total, 0);
    assert_eq!(store.program_get(inserted.id).await.unwrap(), None);
    assert_eq!(store.event_list(10, None, None).await.unwrap(), []);
    assert_eq!(store.counter_get(Counter::SandboxesCreated).await.unwrap(), 0);
}

#[tokio::test]
async fn a_batch_handed_over_is_stored_though_nobody_waits() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let records: Vec<_> = (0..100).map(|_| record()).collect();
    for record in &records {
        let mut applying = pin!(store.apply(Batch::new().sandbox_insert(record.clone(), None)));
        let polled = applying.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Pending | Poll::Ready(Ok(()))));
    }
    drop(store);
    let store = fixture.open();
    for record in records {
        assert_eq!(store.sandbox_get(record.id).await.unwrap(), record);
    }
}

#[tokio::test]
async fn an_empty_batch_is_nothing_to_do() {
    Fixture::new().open().apply(Batch::new()).await.unwrap();
}
