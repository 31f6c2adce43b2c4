//! What a baseline has found.

/// What a baseline has found, and the work that it was.
#[derive(Clone, Debug)]
pub struct BaselineResult<V> {
    /// The vertices.
    pub vertices: V,
    /// Cobases visited, each once.
    pub cobases: u64,
    /// Dictionaries computed from another by an exchange.
    pub pivots: u64,
}
