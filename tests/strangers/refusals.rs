//! What clients whose responses cannot be stored can do to those whose responses can: nothing.
