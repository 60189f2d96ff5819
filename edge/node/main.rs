//! The program `edge`: the allocator is chosen here, everything else is in the library.

use std::process::ExitCode;

// Requests allocate little but often, on every thread; the system's allocator takes locks for it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    edge::cli::run()
}
