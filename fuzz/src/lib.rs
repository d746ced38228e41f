//! What must hold for whatever bytes a decoder is given. The targets feed them; `agent-guard/tests/corpus.rs` includes the very
//! same files. It must not know where the bytes come from.

pub mod properties;
