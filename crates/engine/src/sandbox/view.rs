//! A record as clients may see it.

use store::SandboxRecord;

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
        state: record.state,
        end: record.end.clone(),
        created_at: record.created_at,
        started_at: record.started_at,
        ended_at: record.ended_at,
        lease_until: record.lease_until,
        limits: record.limits,
        network: record.network,
        metadata: record.metadata.clone(),
        program: summary.and_then(|summary| serde_json::from_value::<ProgramSummary>(summary.clone()).ok()),
        last_result: record
            .last_result
            .as_ref()
            .and_then(|result| serde_json::from_value::<ProgramResult>(result.clone()).ok()),
    }
}
