//! The whole server, driven from outside: every test here starts the real executable and speaks MCP to it over stdio.
//!
//! What belongs here: what a client, a hostile guest or a person at the shell can observe. What does not: rules of
//! pure parts, which are tested beside them in `src/`.
//!
//! No test sleeps to wait for something, and none asserts how fast something is; a time limit only turns a hang into a
//! failure.

mod support;

mod call;
