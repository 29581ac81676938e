//! Keys: who gets in, what each sees, and how keys come and go.

mod border;
mod command;
mod door;
mod first_keys;
