# authz_ext. On a fresh Debian machine `make demo` and `make test` do everything, installation of what they need included.
#
#   make demo            a filled sample organisation in a private cluster: decisions with their reasons, and the whole
#                        story of the reference domain, which fails when something is not as expected
#   make demo-stop       stop and remove that cluster
#   make test            all tests; PG_VERSIONS="15 18" chooses the PostgreSQL versions
#   make lint            formatting, clippy, rules for the SQL; PG_VERSIONS likewise
#   make install         build the extension and install it; PG_VERSION=18 chooses the version
#   make package         a tar.gz (and a .deb) of the installed files in out/; PG_VERSION=18 likewise
#   make bench           the benchmarks
#   make clean           remove what was built here (the cache of PostgreSQL builds outside stays)
#
# PG_CONFIG=/path/to/pg_config names a PostgreSQL that is not found by itself.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-stop test lint install package bench clean

ifdef PG_CONFIG
export PG_CONFIG
endif
# Expanded when a recipe runs, so after tools/setup.
PG_VERSION ?= $(shell tools/pg default)
PG_VERSIONS ?= $(PG_VERSION)

help:
	@sed -n 's/^#   //p' Makefile

setup:
	@tools/setup

demo: setup
	@tools/demo $(PG_VERSION)

demo-stop:
	@tools/demo stop

test: setup
	@tools/test $(PG_VERSIONS)

lint: setup
	@tools/lint $(PG_VERSIONS)

install: setup
	@tools/build install $(PG_VERSION)

package: setup
	@tools/build package $(PG_VERSION)

bench: setup
	@benches/run $(PG_VERSION)
	@benches/rows/run $(PG_VERSION)
	@benches/safe_view/run $(PG_VERSION)
	@benches/export/run $(PG_VERSION)
	@benches/casework/run $(PG_VERSION)

clean:
	@tools/demo stop
	rm -rf target out
