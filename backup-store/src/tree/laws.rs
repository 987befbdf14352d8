//! Laws of the tree.
