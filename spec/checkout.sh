# Sourced by checks that ask git which files are the project's: they are skipped, aloud, where git does not say.
if ! git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
  echo "skipped: this is no checkout, or git refuses it ($(basename "$0" .sh))"
  exit 0
fi
