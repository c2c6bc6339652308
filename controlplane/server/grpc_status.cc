#include "controlplane/server/grpc_status.h"

#include <string>

#include "common/base/errors.h"
#include "postern/v1/error.pb.h"

namespace postern::server {
namespace {

constexpr size_t kLongestMessage = 1500;
constexpr size_t kLongestFact = 500;

// At most `limit` bytes, and no half character at the end.
std::string Cut(std::string text, size_t limit) {
  if (text.size() <= limit) return text;
  size_t end = limit - 3;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  text.resize(end);
  return text + "...";
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const ErrorDetails details = DetailsOf(status);
  v1::ErrorInfo info;
  info.set_reason(details.reason.empty() ? absl::StatusCodeToString(status.code()) : details.reason);
  info.set_domain("postern");
  for (const auto& [key, value] : details.metadata) (*info.mutable_metadata())[key] = Cut(value, kLongestFact);
  if (!details.hint.empty()) (*info.mutable_metadata())["hint"] = Cut(details.hint, kLongestFact);

  v1::ErrorStatus error;
  error.set_code(static_cast<int>(status.code()));
  error.set_message(Cut(std::string(status.message()), kLongestMessage));
  google::protobuf::Any* any = error.add_details();
  any->set_type_url("type.googleapis.com/google.rpc.ErrorInfo");
  any->set_value(info.SerializeAsString());
  // The codes of the two are the same numbers.
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), error.message(), error.SerializeAsString());
}

}  // namespace postern::server
