//! The task's part in variables that are set while a sandbox is there: what is started from then on has them.

use jiff::Timestamp;
use store::VariableNote;

use super::{admission::env_check, task::State};
use crate::Result;

impl State {
    /// Sets a variable of its environment, in the place of one of the same name.
    pub(super) async fn variable_set(
        &mut self,
        name: String,
        value: String,
        by: &str,
    ) -> Result<VariableNote> {
        let (env, notes) = (self.task.record.env.clone(), self.task.record.variables.clone());
        let mut changed = env.clone();
        match changed.iter_mut().find(|(other, _)| *other == name) {
            Some((_, old)) => *old = value,
            None => changed.push((name.clone(), value)),
        }
        env_check(&changed)?;
        let record = &mut self.task.record;
        record.env = changed;
        let set_at = Timestamp::now();
        let note = match record.variables.iter_mut().find(|note| note.name == name) {
            Some(note) => {
                note.set_at = set_at;
                note.clone()
            }
            None => {
                let number = record.variables.last().map_or(1, |note| note.number + 1);
                let note = VariableNote { number, name, set_at };
                record.variables.push(note.clone());
                note
            }
        };
        let written = self.record_write(None, by).await;
        if let Err(error) = written {
            (self.task.record.env, self.task.record.variables) = (env, notes);
            return Err(error);
        }
        Ok(note)
    }
}
