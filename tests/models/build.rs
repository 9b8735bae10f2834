//! Builds the crate's sources with the locks and atomics of loom.

fn main() {
    println!("cargo::rustc-cfg=trc_loom");
    println!("cargo::rerun-if-changed=build.rs");
}
