// What the gate reads from a request without knowing its type: by the names that our messages share.
#pragma once

#include <string>

#include "google/protobuf/message.h"

namespace postern::server {

// The field `request_id`; empty if there is none.
std::string RequestIdOf(const google::protobuf::Message& request);

// What the request is about: its `id`, `name`, `account_id` or `revision`, or that of the message that it holds.
std::string ObjectOf(const google::protobuf::Message& request);

// SHA-256 of the request without its secrets (fields named `password`) and its request_id.
std::string DigestOf(const google::protobuf::Message& request);

}  // namespace postern::server
