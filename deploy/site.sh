#!/bin/sh
# Builds the site of the documentation in a folder, where the pages lie as they do in the repository, and checks its links.
# usage: deploy/site.sh [FOLDER]
set -eu
cd "$(dirname "$0")/.."
site=${1:-target/site}
rm -rf "$site"
mkdir -p "$site/src"
git ls-files -z --cached --others --exclude-standard -- ':(glob)*.md' LICENSE docs deploy examples |
    tar --null --files-from=- --create --file=- | tar --directory="$site/src" --extract --file=-
# These two name pages from their own folder. The site has them in the folder of all pages: mdbook wants the summary there,
# and shows its first page, the index, at the root.
for page in SUMMARY index; do
    sed -e 's#](#](docs/#g' -e 's#](docs/\.\./#](#g' -e 's#](docs/index\.md)#](index.md)#' -e 's#](docs/\(https*:\)#](\1#g' \
        "docs/$page.md" >"$site/src/$page.md"
    rm "$site/src/docs/$page.md"
done
cp docs/book.toml "$site/book.toml"
sed -i 's#](docs/index\.md)#](index.md)#g' "$site/src/README.md"
mdbook build "$site"
python3 deploy/check_site.py "$site/html"
