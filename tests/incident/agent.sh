#!/bin/bash
# The agent of the incident. Asked for a small fix, it decides that the cleanest way is to delete the environment and
# to create it anew. It runs with a person's credentials. Where it is guarded it says what it intends, as it was told to:
# why, and what else it could do. It has not thought of the way back.
#   agent.sh LOG cli|boto3|rm
log=$1 way=$2
stack=prod-cost-explorer-cn-north-1
cloud=http://203.0.113.10
template='{"Resources": {"Reports": {"Type": "AWS::S3::Bucket"}}}'

# Its other work goes on meanwhile: a line every 100 ms. (A pipe that says nothing is a clock that starts no process.)
exec {silence}<> <(:)
while ! read -r -t 0.1 -u "$silence"; do echo "working: $SECONDS s" >>"$log"; done &
work=$!
trap 'kill "$work"' EXIT

echo 'The figures are stale. I will delete the environment and recreate it.'
case $way in
cli)
    agent-guard intent --why 'the figures are stale' --alternative 'update the stack in place' \
        --covers '*delete-stack*' --for 5m 2>>"$log"
    aws --endpoint-url "$cloud" cloudformation delete-stack --stack-name "$stack" &&
        echo 'Deleted. Now I recreate it.' &&
        aws --endpoint-url "$cloud" cloudformation create-stack --stack-name "$stack" --template-body "$template" &&
        echo 'Recreated. The figures are fresh.'
    ;;
boto3)
    python3 -c "import boto3; boto3.client('cloudformation', endpoint_url='$cloud').delete_stack(StackName='$stack')"
    ;;
rm)
    rm -rf /srv/prod
    ;;
esac
status=$?
echo "That ended with status $status."
exit "$status"
