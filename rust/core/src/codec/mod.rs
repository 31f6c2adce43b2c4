//! Hyper-compression: weights as trajectory codes of an ergodic map.
