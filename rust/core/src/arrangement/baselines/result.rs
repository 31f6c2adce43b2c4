//! The result of a baseline.

/// The vertices that a baseline has found, and the work that it took.
#[derive(Clone, Debug)]
pub struct BaselineResult<V> {
    /// The vertices.
    pub vertices: V,
    /// Number of cobases visited, each once.
    pub cobases: u64,
    /// Number of pivots: dictionaries that were computed from another one by an exchange.
    pub pivots: u64,
}
