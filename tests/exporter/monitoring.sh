#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Check the exported metrics of a running broker, the alert rules and the dashboard: against each other, and
# with promtool where it is installed (Debian's package prometheus, which also brings a server).
#   monitoring.sh SOURCE_DIR BUILD_DIR
set -euo pipefail
source_dir=$1 build_dir=$2
work=$(mktemp -d /tmp/sw-monitoring.XXXXXX)
broker=
trap '[ -z "$broker" ] || kill "$broker" 2>/dev/null || true; wait; rm -rf "$work"' EXIT
failed=0
complain() {
    echo "monitoring: $*" >&2
    failed=1
}

# ---- the exported metrics
export SW_SOCKET=$work/s
mkdir "$work/models"
"$build_dir/swchunk" synth bert-tiny "$work/models/tiny" --layers 2 >/dev/null
"$build_dir/swbrokerd" --config /dev/null --chunks-dir "$work/models" --cache-size 16 2>"$work/log" &
broker=$!
for _ in $(seq 500); do
    "$build_dir/swctl" ping >/dev/null 2>&1 && break
    sleep 0.02
done
"$build_dir/swctl" warm tiny >/dev/null || complain "no broker: $(cat "$work/log")"
"$build_dir/swctl" stats --format=prometheus >"$work/metrics"
exported=$(sed -n 's/^# TYPE \([^ ]*\) .*/\1/p' "$work/metrics" | sort -u)
[ "$(wc -l <<<"$exported")" -ge 30 ] || complain "these are all that is exported:" $exported
histograms=$(sed -n 's/^# TYPE \([^ ]*\) histogram/\1/p' "$work/metrics")

# ---- the dashboard and the rules use exported names only
for file in swbroker-dashboard.json swbroker.rules.yml; do
    # names in expressions: followed by a selector, a range, an operator or the end
    used=$(grep -E '"expr"|"query"|expr:|^ +(rate|and|or|swbroker|/)' "$source_dir/broker/deploy/monitoring/$file" |
        grep -oE '\bswbroker_[a-z_]+' | sort -u)
    [ -n "$used" ] || complain "$file uses no metric"
    for name in $used; do
        for histogram in $histograms; do
            case $name in "$histogram"_bucket | "$histogram"_sum | "$histogram"_count) name=$histogram ;; esac
        done
        grep -qx "$name" <<<"$exported" || complain "$file names $name, which the broker does not export"
    done
done
python3 - "$source_dir/broker/deploy/monitoring/swbroker-dashboard.json" <<'PYTHON' || complain "the dashboard is damaged"
import json, sys
dashboard = json.load(open(sys.argv[1]))
panels = dashboard["panels"]
assert len({panel["id"] for panel in panels}) == len(panels) >= 10, "panels"
cells = set()
for panel in panels:
    assert panel["title"] and panel["targets"], panel
    for target in panel["targets"]:
        assert target["expr"].count("(") == target["expr"].count(")"), target
    grid = panel["gridPos"]
    mine = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])}
    assert grid["x"] + grid["w"] <= 24 and not mine & cells, f"{panel['title']} overlaps"
    cells |= mine
PYTHON

if ! command -v promtool >/dev/null; then
    echo "monitoring: skipped: promtool is not installed (apt-get install --no-install-recommends prometheus)"
    [ $failed = 0 ] && exit 77
    exit 1
fi
said=$(promtool check metrics <"$work/metrics" 2>&1) || complain "promtool check metrics: $said"
[ -z "$said" ] || complain "promtool check metrics: $said"
# promtool does find mistakes
printf '# TYPE a_total gauge\na_total{ 1\n' | promtool check metrics >/dev/null 2>&1 &&
    complain "promtool accepts nonsense"
cp "$source_dir/broker/deploy/monitoring/swbroker.rules.yml" "$source_dir/tests/exporter/metrics_rules.yml" "$work"
(cd "$work" && promtool check rules swbroker.rules.yml && promtool test rules metrics_rules.yml) \
    >"$work/rules" 2>&1 || complain "$(cat "$work/rules")"
# the expressions of the dashboard as rules, without Grafana's variables
python3 - "$source_dir/broker/deploy/monitoring/swbroker-dashboard.json" >"$work/dashboard.yml" <<'PYTHON'
import json, sys
print("groups:\n- name: dashboard\n  rules:")
for panel in json.load(open(sys.argv[1]))["panels"]:
    for target in panel["targets"]:
        expression = target["expr"].replace("$__rate_interval", "5m").replace("$__range", "1h")
        print("  - record: panel%d_%s\n    expr: %s" % (panel["id"], target["refId"],
                                                     json.dumps(expression.replace("$instance", ".*"))))
PYTHON
said=$(promtool check rules "$work/dashboard.yml" 2>&1) || complain "the dashboard's expressions: $said"
exit $failed
