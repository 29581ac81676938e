//! Network policies: whom a sandbox reaches, by name and by address, whatever a program in it tries.

mod addresses;
mod changes;
mod internet;
mod names;
mod sandbox;
mod servers;
