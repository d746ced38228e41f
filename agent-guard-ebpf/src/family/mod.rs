//! The hooks, by family. A hook reads its arguments into an object and calls the one body; it has none of its own.
//!
//! Each names the kernel function that calls it. All are there on 6.1, 6.12 and 7.2 unless it says otherwise.

mod adopt;
mod attribute;
mod descriptor;
mod exec;
mod file;
mod lookup;
mod mount;
mod net;
mod outcome;
mod process;
mod system;
mod tree;
mod unix;
