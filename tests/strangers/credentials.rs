//! What clients with credentials can do to others: read nothing of theirs, and be read by nobody.
