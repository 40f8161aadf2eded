#!/bin/sh
# Starts kdrec as the recorder or a trainer of the compose file.
set -eu
# What is recorded can be read by its group, of which the service is, and by nobody else.
umask 0027
exec kdrec "$@"
