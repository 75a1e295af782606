"""Options of authentication and authorization."""

from __future__ import annotations

from rmqd.conf.option import OptionGroup, boolean, int32, optional_text


class AuthConfig(OptionGroup):
    """Authentication and authorization of version 5."""

    JAVA_CLASS = "org.apache.rocketmq.auth.config.AuthConfig"

    config_name = optional_text("Name under which it is kept; the start sets it to the name of the broker.")
    cluster_name = optional_text("Cluster it is for; the start sets it to the cluster of the broker.")
    auth_config_path = optional_text("Folder it is kept in; the start sets it to config/ under the root of the store.")
    authentication_enabled = boolean(False, "Ask for a signature.")
    authentication_provider = optional_text("Java class that checks it.")
    authentication_metadata_provider = optional_text("Java class that keeps the users.")
    authentication_strategy = optional_text("Java class that decides whom to ask.")
    authentication_whitelist = optional_text("Request codes, separated by commas, that need no signature.")
    init_authentication_user = optional_text("First user, as JSON.")
    inner_client_authentication_credentials = optional_text("Credentials of brokers among themselves, as JSON.")
    authorization_enabled = boolean(False, "Ask for a permission.")
    authorization_provider = optional_text("Java class that checks it.")
    authorization_metadata_provider = optional_text("Java class that keeps the permissions.")
    authorization_strategy = optional_text("Java class that decides when to ask.")
    authorization_whitelist = optional_text("Request codes, separated by commas, that need no permission.")
    migrate_auth_from_v1_enabled = boolean(False, "Take users and permissions over from version 4.")
    user_cache_max_num = int32(1000, "users", "Most users in memory.")
    user_cache_expired_second = int32(600, "s", "Forget a user after so long.")
    user_cache_refresh_second = int32(60, "s", "Read a user again after so long.")
    acl_cache_max_num = int32(1000, "entries", "Most permissions in memory.")
    acl_cache_expired_second = int32(600, "s", "Forget a permission after so long.")
    acl_cache_refresh_second = int32(60, "s", "Read a permission again after so long.")
    stateful_authentication_cache_max_num = int32(10_000, "entries", "Most connections whose user is remembered.")
    stateful_authentication_cache_expired_second = int32(60, "s", "For so long.")
    stateful_authorization_cache_max_num = int32(
        10_000, "entries", "Most connections whose permissions are remembered."
    )
    stateful_authorization_cache_expired_second = int32(60, "s", "For so long.")
