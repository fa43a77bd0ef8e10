//! Running a component.

pub mod door;
