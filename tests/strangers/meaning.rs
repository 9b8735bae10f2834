//! Fields that change what a request means: such a request is no plain read.
