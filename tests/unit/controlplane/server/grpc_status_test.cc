#include "controlplane/server/grpc_status.h"

#include <string>

#include "common/base/errors.h"
#include "gtest/gtest.h"
#include "postern/v1/error.pb.h"

namespace postern::server {
namespace {

v1::ErrorInfo InfoOf(const grpc::Status& status) {
  v1::ErrorStatus error;
  EXPECT_TRUE(error.ParseFromString(status.error_details()));
  EXPECT_EQ(error.code(), static_cast<int>(status.error_code()));
  EXPECT_EQ(error.details_size(), 1);
  EXPECT_EQ(error.details(0).type_url(), "type.googleapis.com/google.rpc.ErrorInfo");
  v1::ErrorInfo info;
  EXPECT_TRUE(info.ParseFromString(error.details(0).value()));
  return info;
}

TEST(GrpcStatusTest, ReasonHintAndFactsCrossTheWire) {
  const grpc::Status status = ToGrpc(
      Error(absl::StatusCode::kPermissionDenied, "POLICY_DENIED", "no", "ask for less", {{"rule", "desk/lookup"}}));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(status.error_message(), "no");
  const v1::ErrorInfo info = InfoOf(status);
  EXPECT_EQ(info.reason(), "POLICY_DENIED");
  EXPECT_EQ(info.domain(), "postern");
  EXPECT_EQ(info.metadata().at("rule"), "desk/lookup");
  EXPECT_EQ(info.metadata().at("hint"), "ask for less");
}

TEST(GrpcStatusTest, AStrangersStatusStillHasAReason) {
  EXPECT_EQ(InfoOf(ToGrpc(absl::InternalError("oops"))).reason(), "INTERNAL");
}

TEST(GrpcStatusTest, OkIsOk) { EXPECT_TRUE(ToGrpc(absl::OkStatus()).ok()); }

TEST(GrpcStatusTest, LongTextsAreCutBetweenCharacters) {
  std::string text;
  while (text.size() < 100'000) text += "ü";
  const grpc::Status status = ToGrpc(Error(absl::StatusCode::kInternal, "X", text, text, {{"fact", text}}));
  EXPECT_LT(status.error_details().size() + status.error_message().size(), 8000u);
  EXPECT_TRUE(status.error_message().ends_with("ü..."));
  EXPECT_TRUE(InfoOf(status).metadata().at("fact").ends_with("ü..."));
}

}  // namespace
}  // namespace postern::server
