# The checks of CI and the longer ones; `just` alone lists them.

# The scripts in tests/bench import tests/harness.
export PYTHONPATH := justfile_directory() / "tests"

packages := "python3 tests/harness/packages.py"
suites := "tests/e2e/test_"

[private]
default:
    @just --list

# Format, lints, documentation, the quick tests: what CI runs and needs no root
check: format lint doc test

# All that CI runs, real clients included; root, Debian
ci:
    .ci/run

# Whether the code is formatted
format:
    cargo fmt --all --check
    "$({{packages}} lint)"/ruff format --check tests deploy

# Clippy and ruff, and what may be in the dependency tree
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings
    "$({{packages}} lint)"/ruff check tests deploy
    cargo machete
    cargo deny --all-features check bans licenses sources

# The documentation of the code, without warnings
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# The quick tests, which need nothing but Rust and git
test:
    cargo test --workspace

# RAAS_PROGRAM names a program that is built already. Further words go to pytest: `just e2e -k docker`.
# Every end-to-end suite that CI runs; root, Debian
e2e *words:
    "$({{packages}} e2e)"/pytest tests/e2e {{words}}

# The main job: docker, podman and skopeo pull every sample; root, Debian
e2e-pull *words:
    "$({{packages}} e2e)"/pytest {{suites}}pull.py {{words}}

# Archives as real tools write them, beside skopeo; root, Debian
e2e-inputs *words:
    "$({{packages}} e2e)"/pytest {{suites}}inputs.py {{words}}

# The configuration repository, and base layers in another registry; root, Debian
e2e-config *words:
    "$({{packages}} e2e)"/pytest {{suites}}config.py {{words}}

# CDNs that check tokens, a Crane's configuration, and layers in parts; root, Debian
e2e-delivery *words:
    "$({{packages}} e2e)"/pytest {{suites}}delivery.py {{words}}

# Bundles in a network without a way out, and registries of nginx or a bucket alone; root, Debian
e2e-offline *words:
    "$({{packages}} e2e)"/pytest {{suites}}offline.py {{words}}

# Client certificates, tokens of another issuer, and passwords; root, Debian
e2e-access *words:
    "$({{packages}} e2e)"/pytest {{suites}}access.py {{suites}}customers.py {{words}}

# Signatures: push --sign, require_signature, and the policies for customers, checked by podman and skopeo; root, Debian
e2e-trust *words:
    "$({{packages}} e2e)"/pytest {{suites}}trust.py {{words}}

# The manifests for clusters, and a setup in the cluster that KUBECONFIG names, in a project of its own; root, Debian
e2e-kubernetes *words:
    "$({{packages}} e2e cluster)"/pytest {{suites}}kubernetes.py -m "cluster or not cluster" {{words}}

# A release in target/dist: the stripped program raas, and raas.debug with its debug information; needs binutils
release *words:
    cargo build --locked --package raas --profile dist {{words}}
    deploy/split-debug-info.sh target/dist/raas

# A release in target/dist-output: .deb, .rpm, archive, SBOM, checksums; `--image`, `--sign KEY`; needs dpkg-deb, rpmbuild
dist *words:
    python3 deploy/dist.py {{words}}

# Whether two builds of a release, in two folders, have the same bytes
dist-twice:
    python3 deploy/dist.py target/dist-output
    python3 deploy/dist.py --target-dir target/dist-again target/dist-output-again
    diff --recursive target/dist-output target/dist-output-again

# Whether a stripped program finds its debug information beside it; needs binutils
e2e-debug-info *words:
    "$({{packages}} e2e)"/pytest {{suites}}debug_info.py {{words}}

# The container image of the server, in target/image-output: a static program, at most 12 MiB; needs podman and binutils
image *words:
    python3 deploy/image.py {{words}} target/image-output

# Whether two builds of the image, in two folders, have the same bytes
image-twice:
    python3 deploy/image.py --target-dir target/image target/image-output
    python3 deploy/image.py --target-dir target/image-again target/image-output-again
    cmp target/image-output/raas target/image-output-again/raas
    diff --recursive target/image-output/layout target/image-output-again/layout

# The container image with a read-only root and no capabilities, pulled from itself, and a rolling update; root, Debian
e2e-container *words:
    "$({{packages}} e2e)"/pytest {{suites}}container.py {{words}}

# The units of systemd: valid, with little exposure; Debian
e2e-units *words:
    "$({{packages}} e2e)"/pytest {{suites}}units.py {{words}}

# The packages, installed on a machine of their own that systemd runs: upgrade under a pull, remove, purge; root, Debian
e2e-packages *words:
    "$({{packages}} e2e)"/pytest {{suites}}packages.py {{suites}}installation.py {{words}}

# The Helm chart, rendered by Helm, beside what `raas setup` applies
e2e-chart *words:
    "$({{packages}} e2e)"/pytest {{suites}}chart.py {{words}}

# docker-registry with passwords, a private authority and a line that cuts, delays and corrupts; root, Debian
e2e-sources *words:
    "$({{packages}} e2e)"/pytest {{suites}}sources.py {{words}}

# A real Pulp 3: exports, signatures, uploads, with its token server and with domains; installs Pulp; root, Debian
e2e-pulp *words:
    "$({{packages}} e2e pulp)"/pytest {{suites}}pulp.py -m pulp {{words}}

# raas behind nginx, and raas that reaches S3 through squid; root, Debian
e2e-proxies *words:
    "$({{packages}} e2e)"/pytest {{suites}}proxies.py {{words}}

# Every sample in S3 services, moto and Garage; builds Garage on its first run; root, Debian
s3 *words:
    "$({{packages}} e2e)"/pytest {{suites}}s3.py -m "garage or not garage" --timeout 3600 {{words}}

# Every sample in moto alone; root, Debian
s3-moto *words:
    "$({{packages}} e2e)"/pytest {{suites}}s3.py {{words}}

# The pages in chromium, on a desktop and a phone; `just browser --pictures FOLDER` keeps pictures; Debian
browser *words:
    "$({{packages}} e2e)"/pytest {{suites}}page.py {{words}}

# What clients, operators and machines do to a server: slow and broken clients, full disks, signals; Debian
stress *words:
    "$({{packages}} e2e)"/pytest {{suites}}stress.py -m "long or not long" {{words}}

# A hostile vendor beside a good one, with the times that the good one's clients see; a rolling update with 50 restarts
hostile *words:
    "$({{packages}} e2e)"/pytest {{suites}}hostile.py {{suites}}rolling.py -s -m "long or not long" {{words}}

# Kills, faults, signals, operators, flipped bits and losses of power: two hours, or `--minutes N`; Debian
chaos *words:
    "$({{packages}} e2e)"/python -m chaos {{words}}

# Certificates from a real ACME server, pebble; Debian
acme *words:
    "$({{packages}} acme)"/pytest {{suites}}acme.py -m acme {{words}}

# The alerts, and what they say at given moments; needs Prometheus's promtool
alerts:
    promtool check rules deploy/prometheus/raas.rules.yml
    promtool test rules deploy/prometheus/raas.test.yml

# The site of the documentation, in target/site/html, with its links checked; needs mdbook (cargo install --locked --no-default-features --features search mdbook)
site:
    deploy/site.sh

# Publishing to a folder beside skopeo with docker-registry; root, Debian
bench-push *words:
    {{packages}} bench && python3 tests/bench/bench_push.py {{words}}

# Publishing to S3 beside skopeo with docker-registry, and beside aws s3 cp; builds Garage; root, Debian
bench-s3 *words:
    {{packages}} bench && python3 tests/bench/bench_s3.py {{words}}

# Publishing from a registry beside skopeo, and `raas sync` beside `skopeo sync`; builds Garage; root, Debian
bench-sources *words:
    {{packages}} bench && python3 tests/bench/bench_sources.py {{words}}

# Requests for a second and processor time, beside nginx and docker-registry, then `just bench-access`; `--busy` loads the server more; root, Debian
bench-serve *words:
    {{packages}} bench && python3 tests/bench/bench_serve.py {{words}} && python3 tests/bench/bench_access.py

# Pulls and logins with 50,000 keys of customers, and their memory; root, Debian
bench-access *words:
    {{packages}} bench && python3 tests/bench/bench_access.py {{words}}

# TLS, and layers from a folder or by proxy, beside nginx; `--busy` loads the server more; root, Debian
bench-tls *words:
    {{packages}} bench && python3 tests/bench/bench_tls.py {{words}}

# Whole pulls of an image of forty layers by skopeo and containerd, beside docker-registry and nginx; root, Debian
bench-pull *words:
    "$({{packages}} e2e bench)"/python tests/bench/bench_pull.py {{words}}

# Peak memory of push (a layer of 2 GiB) and of serve (a thousand repositories)
memory:
    python3 tests/bench/memory.py

# A server of 10,000 repositories and 100,000 manifests: start, memory, changes, idle connections; root, Debian
scale *words:
    {{packages}} bench && python3 tests/bench/scale.py {{words}}

# Bytes that are nearly right into whatever reads bytes from outside, so many seconds for each; needs no nightly
fuzz seconds="60":
    cargo run --release --manifest-path fuzz/Cargo.toml --bin mutate -- {{seconds}}

# The same with libFuzzer, which sees what its bytes reach: a target is request, document, token, text, source, archive or members. Needs a C++ compiler
fuzz-guided target seconds="60":
    mkdir -p fuzz/corpus/{{target}}
    RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares" \
        cargo run --release --manifest-path fuzz/Cargo.toml --target-dir fuzz/target/guided --target "$(rustc -vV | sed -n 's/^host: //p')" \
        --features libfuzzer --bin {{target}} -- -max_total_time={{seconds}} -artifact_prefix=fuzz/corpus/ fuzz/corpus/{{target}}
