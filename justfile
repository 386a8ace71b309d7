# The checks of CI and the longer ones; `just` alone lists them.

[private]
default:
    @just --list

# Format, lints, tests: what CI runs
check: format lint test

# Whether the code is formatted
format:
    cargo fmt --all --check

# Clippy, and what may be in the dependency tree
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo machete
    cargo deny --all-features check bans licenses sources

# The quick tests, which need nothing but Rust and git
test:
    cargo test --workspace

# Real clients pull every sample from a real server; needs root and Debian's packages
e2e:
    python3 tests/e2e/run.py
    python3 tests/e2e/config.py

# The configuration repository, git as the record, and base layers in another registry, with real clients
e2e-config:
    python3 tests/e2e/config.py

# CDNs that check their tokens, a Crane's configuration, and layers in parts, with real clients
e2e-delivery:
    python3 tests/e2e/delivery.py

# Client certificates, tokens of another issuer and passwords, with real clients
e2e-access:
    python3 tests/e2e/access.py

# Every sample in real S3 services; builds Garage on its first run
s3:
    python3 tests/e2e/s3.py

# Certificates from a real ACME server, Debian's pebble
acme:
    python3 tests/e2e/acme.py

# The alerts, and what they say at given moments; needs Prometheus's promtool
alerts:
    promtool check rules deploy/prometheus/raas.rules.yml
    promtool test rules deploy/prometheus/raas.test.yml

# Publishing to S3 against skopeo with docker-registry, and against aws s3 cp
bench-s3:
    python3 tests/e2e/bench_s3.py

# Peak memory of push (a layer of 2 GiB) and of serve (a thousand repositories)
memory:
    python3 tests/e2e/memory.py

# Requests for a second and processor time, beside nginx and docker-registry; installs Debian's packages
bench-serve:
    python3 tests/e2e/bench_serve.py

# A server of 10,000 repositories and 100,000 manifests: start, memory, changes, idle connections
scale:
    python3 tests/e2e/scale.py

# What clients, operators and machines do to a server: slow and broken clients, replaced metadata, full disks, signals
stress:
    python3 tests/e2e/stress.py

# The pages in Debian's chromium, on a desktop and a phone
browser:
    python3 tests/e2e/browser.py

# Bytes that are nearly right into whatever reads bytes from outside, so many seconds for each; needs no nightly
fuzz seconds="60":
    cargo run --release --manifest-path fuzz/Cargo.toml --bin mutate -- {{seconds}}

# The same with libFuzzer, which sees what its bytes reach: a target is request, document, token, text, archive or members. Needs a C++ compiler
fuzz-guided target seconds="60":
    mkdir -p fuzz/corpus/{{target}}
    RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares" \
        cargo run --release --manifest-path fuzz/Cargo.toml --target-dir fuzz/target/guided --target "$(rustc -vV | sed -n 's/^host: //p')" \
        --features libfuzzer --bin {{target}} -- -max_total_time={{seconds}} -artifact_prefix=fuzz/corpus/ fuzz/corpus/{{target}}
