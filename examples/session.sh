#!/bin/sh
# The life of a container with curl alone.
#   BERTH_URL=http://127.0.0.1:8080 BERTH_TOKEN=berth_… sh examples/session.sh [IMAGE]
set -eu

api() {
  curl -sSf -X "$1" "$BERTH_URL$2" -H "Authorization: Bearer $BERTH_TOKEN" -H 'Content-Type: application/json' \
    ${3:+-d "$3"}
}

# A name of GET /api/images, or else any image reference.
body='{"image":"sandbox"}'
[ $# = 0 ] || body="{\"image\":\"custom\",\"custom_image\":\"$1\"}"
# An idempotency key would make this safe to repeat: -H "Idempotency-Key: $(uuidgen)"
created=$(api POST /api/containers "$body")
id=$(printf '%s' "$created" | sed 's/.*"db_id":"\([^"]*\)".*/\1/')
trap 'api DELETE "/api/containers/$id" >/dev/null' EXIT

api GET "/api/containers/$id/wait?status=running&timeout=120" >/dev/null
echo "$id runs"
api POST "/api/containers/$id/stop"
echo
