# Prometheus. It is told where to scrape by who uses it, so nothing is started here:
# it is a program to call, with promtool beside it.
for program in prometheus promtool; do
	command -v "$program" >/dev/null || fail "$program is missing: run scripts/setup, or install Debian's package prometheus"
done
EXPORTOPS_TEST_PROMETHEUS=$(command -v prometheus)
EXPORTOPS_TEST_PROMTOOL=$(command -v promtool)
export EXPORTOPS_TEST_PROMETHEUS EXPORTOPS_TEST_PROMTOOL
