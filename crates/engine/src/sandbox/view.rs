//! A record as clients may see it.

use std::sync::Arc;

use store::{Pending, SandboxRecord, SandboxState};

use crate::{ProgramSummary, Sandbox, program::ProgramResult};

/// What a client sees of a record.
pub(crate) fn view_of(record: &SandboxRecord) -> Sandbox {
    let summary = record.program.as_ref();
    Sandbox {
        id: record.id,
        owner: record.owner.clone(),
        dialect: record.dialect.clone(),
        name: record.name.clone(),
        number: record.number,
        ordinal: record.ordinal,
        state: state_of(record),
        end: record.end.clone(),
        created_at: record.created_at,
        started_at: record.started_at,
        ended_at: record.ended_at,
        lease_until: record.lease_until,
        image: record.image.clone(),
        limits: record.limits,
        network: record.network,
        network_policy: record.network_policy.clone(),
        metadata: record.metadata.clone(),
        entrypoint: record.entrypoint.clone(),
        on_access: record.on_access,
        details: record.details.clone(),
        env: Arc::new(record.env.clone()),
        variables: Arc::new(record.variables.clone()),
        used_at: record.used_at,
        program: summary.and_then(|summary| serde_json::from_value::<ProgramSummary>(summary.clone()).ok()),
        last_result: record
            .last_result
            .as_ref()
            .and_then(|result| serde_json::from_value::<ProgramResult>(result.clone()).ok()),
    }
}

/// One that is being made is not there yet, although its processes may run already.
fn state_of(record: &SandboxRecord) -> SandboxState {
    match (&record.pending, record.state) {
        (Some(Pending::Create | Pending::Fork { .. }), SandboxState::Running) => SandboxState::Pending,
        (_, state) => state,
    }
}
