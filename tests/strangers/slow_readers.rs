//! What clients that read slowly, or not at all, can do to others: wait alone, in bounded memory.
