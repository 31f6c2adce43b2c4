//! Vertices of hyperplane arrangements, exactly.
