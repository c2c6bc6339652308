// The one place where an absl::Status becomes a grpc::Status.
#pragma once

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace postern::server {

// Code and message as they are, and in `grpc-status-details-bin` one ErrorInfo with reason, hint and metadata
// (error.proto). A status that no Error() made gets its code's name as reason. Texts are cut so that the trailers fit
// the 8 KiB that peers accept.
grpc::Status ToGrpc(const absl::Status& status);

}  // namespace postern::server
