"""The names of all parameters, as the servers themselves list them. tests/engine/test_tuning.py compares them with the servers' own lists.

Those of a newer minor version may lack here: they are added as that test says.
"""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# PostgreSQL 17, `postgres --describe-config`: taken only when the server starts (context "postmaster").
POSTGRES_AT_START = _names(
    """
    archive_mode autovacuum_freeze_max_age autovacuum_max_workers autovacuum_multixact_freeze_max_age bonjour bonjour_name cluster_name
    commit_timestamp_buffers data_directory data_sync_retry dynamic_shared_memory_type event_source external_pid_file hba_file hot_standby huge_page_size
    huge_pages ident_file jit_provider listen_addresses logging_collector max_connections max_files_per_process max_locks_per_transaction
    max_logical_replication_workers max_notify_queue_pages max_pred_locks_per_transaction max_prepared_transactions max_replication_slots max_wal_senders
    max_worker_processes min_dynamic_shared_memory multixact_member_buffers multixact_offset_buffers notify_buffers pg_stat_statements.max port
    recovery_target recovery_target_action recovery_target_inclusive recovery_target_lsn recovery_target_name recovery_target_time
    recovery_target_timeline recovery_target_xid reserved_connections serializable_buffers shared_buffers shared_memory_type shared_preload_libraries
    subtransaction_buffers superuser_reserved_connections track_activity_query_size track_commit_timestamp transaction_buffers unix_socket_directories
    unix_socket_group unix_socket_permissions wal_buffers wal_decode_buffer_size wal_level wal_log_hints
    """
)

# The others: a reload takes them.
POSTGRES_RELOADED = _names(
    """
    allow_alter_system archive_cleanup_command archive_command archive_library archive_timeout array_nulls authentication_timeout autovacuum
    autovacuum_analyze_scale_factor autovacuum_analyze_threshold autovacuum_naptime autovacuum_vacuum_cost_delay autovacuum_vacuum_cost_limit
    autovacuum_vacuum_insert_scale_factor autovacuum_vacuum_insert_threshold autovacuum_vacuum_scale_factor autovacuum_vacuum_threshold
    autovacuum_work_mem backend_flush_after backslash_quote bgwriter_delay bgwriter_flush_after bgwriter_lru_maxpages bgwriter_lru_multiplier bytea_output
    check_function_bodies checkpoint_completion_target checkpoint_flush_after checkpoint_timeout checkpoint_warning client_connection_check_interval
    client_encoding client_min_messages commit_delay commit_siblings compute_query_id constraint_exclusion cpu_index_tuple_cost cpu_operator_cost
    cpu_tuple_cost createrole_self_grant cursor_tuple_fraction datestyle deadlock_timeout debug_pretty_print debug_print_parse debug_print_plan
    debug_print_rewritten default_statistics_target default_table_access_method default_tablespace default_text_search_config default_toast_compression
    default_transaction_deferrable default_transaction_isolation default_transaction_read_only dynamic_library_path effective_cache_size
    effective_io_concurrency enable_async_append enable_bitmapscan enable_gathermerge enable_group_by_reordering enable_hashagg enable_hashjoin
    enable_incremental_sort enable_indexonlyscan enable_indexscan enable_material enable_memoize enable_mergejoin enable_nestloop enable_parallel_append
    enable_parallel_hash enable_partition_pruning enable_partitionwise_aggregate enable_partitionwise_join enable_presorted_aggregate enable_seqscan
    enable_sort enable_tidscan escape_string_warning event_triggers exit_on_error extension_destdir extra_float_digits file_extend_method
    from_collapse_limit fsync full_page_writes geqo geqo_effort geqo_generations geqo_pool_size geqo_seed geqo_selection_bias geqo_threshold
    gin_fuzzy_search_limit gin_pending_list_limit gss_accept_delegation hash_mem_multiplier hot_standby_feedback icu_validation_level
    idle_in_transaction_session_timeout idle_session_timeout intervalstyle io_combine_limit jit jit_above_cost jit_inline_above_cost
    jit_optimize_above_cost join_collapse_limit krb_caseins_users krb_server_keyfile lc_messages lc_monetary lc_numeric lc_time lo_compat_privileges
    local_preload_libraries lock_timeout log_autovacuum_min_duration log_checkpoints log_connections log_destination log_directory log_disconnections
    log_duration log_error_verbosity log_executor_stats log_file_mode log_filename log_hostname log_line_prefix log_lock_waits log_min_duration_sample
    log_min_duration_statement log_min_error_statement log_min_messages log_parameter_max_length log_parameter_max_length_on_error log_parser_stats
    log_planner_stats log_recovery_conflict_waits log_replication_commands log_rotation_age log_rotation_size log_startup_progress_interval log_statement
    log_statement_sample_rate log_statement_stats log_temp_files log_timezone log_transaction_sample_rate log_truncate_on_rotation
    logical_decoding_work_mem maintenance_io_concurrency maintenance_work_mem max_parallel_apply_workers_per_subscription max_parallel_maintenance_workers
    max_parallel_workers max_parallel_workers_per_gather max_pred_locks_per_page max_pred_locks_per_relation max_slot_wal_keep_size max_stack_depth
    max_standby_archive_delay max_standby_streaming_delay max_sync_workers_per_subscription max_wal_size min_parallel_index_scan_size
    min_parallel_table_scan_size min_wal_size output_plugin_libraries parallel_leader_participation parallel_setup_cost parallel_tuple_cost
    password_encryption pg_stat_statements.save pg_stat_statements.track pg_stat_statements.track_planning pg_stat_statements.track_utility
    plan_cache_mode primary_conninfo primary_slot_name quote_all_identifiers random_page_cost recovery_end_command recovery_init_sync_method
    recovery_min_apply_delay recovery_prefetch recursive_worktable_factor restart_after_crash restore_command row_security scram_iterations search_path
    seq_page_cost session_preload_libraries session_replication_role ssl ssl_ca_file ssl_cert_file ssl_ciphers ssl_crl_dir ssl_crl_file ssl_dh_params_file
    ssl_ecdh_curve ssl_key_file ssl_max_protocol_version ssl_min_protocol_version ssl_passphrase_command ssl_passphrase_command_supports_reload
    ssl_prefer_server_ciphers standard_conforming_strings statement_timeout stats_fetch_consistency summarize_wal sync_replication_slots
    synchronize_seqscans synchronized_standby_slots synchronous_commit synchronous_standby_names syslog_facility syslog_ident syslog_sequence_numbers
    syslog_split_messages tcp_keepalives_count tcp_keepalives_idle tcp_keepalives_interval tcp_user_timeout temp_buffers temp_file_limit temp_tablespaces
    timezone timezone_abbreviations track_activities track_counts track_functions track_io_timing track_wal_io_timing transaction_timeout
    transform_null_equals update_process_title vacuum_buffer_usage_limit vacuum_cost_delay vacuum_cost_limit vacuum_cost_page_dirty vacuum_cost_page_hit
    vacuum_cost_page_miss vacuum_failsafe_age vacuum_freeze_min_age vacuum_freeze_table_age vacuum_multixact_failsafe_age vacuum_multixact_freeze_min_age
    vacuum_multixact_freeze_table_age wal_compression wal_init_zero wal_keep_size wal_receiver_create_temp_slot wal_receiver_status_interval
    wal_receiver_timeout wal_recycle wal_retrieve_retry_interval wal_sender_timeout wal_skip_threshold wal_summary_keep_time wal_sync_method
    wal_writer_delay wal_writer_flush_after work_mem xmlbinary xmloption
    """
)

# Redis 7, CONFIG GET *, without the old names for the same.
REDIS = _names(
    """
    acl-pubsub-default aclfile acllog-max-len active-defrag-cycle-max active-defrag-cycle-min active-defrag-ignore-bytes active-defrag-max-scan-fields
    active-defrag-threshold-lower active-defrag-threshold-upper active-expire-effort activedefrag activerehashing always-show-logo aof-disable-auto-gc
    aof-load-truncated aof-rewrite-incremental-fsync aof-timestamp-enabled aof-use-rdb-preamble aof_rewrite_cpulist appenddirname appendfilename
    appendfsync appendonly auto-aof-rewrite-min-size auto-aof-rewrite-percentage bgsave_cpulist bind bind-source-addr bio_cpulist busy-reply-threshold
    client-output-buffer-limit client-query-buffer-limit cluster-allow-pubsubshard-when-down cluster-allow-reads-when-down cluster-allow-replica-migration
    cluster-announce-bus-port cluster-announce-hostname cluster-announce-ip cluster-announce-port cluster-announce-tls-port cluster-config-file
    cluster-enabled cluster-link-sendbuf-limit cluster-migration-barrier cluster-node-timeout cluster-port cluster-preferred-endpoint-type
    cluster-replica-no-failover cluster-replica-validity-factor cluster-require-full-coverage crash-log-enabled crash-memcheck-enabled daemonize databases
    dbfilename dir disable-thp dynamic-hz enable-debug-command enable-module-command enable-protected-configs hash-max-listpack-entries
    hash-max-listpack-value hll-sparse-max-bytes hz ignore-warnings io-threads io-threads-do-reads jemalloc-bg-thread latency-monitor-threshold
    latency-tracking latency-tracking-info-percentiles lazyfree-lazy-eviction lazyfree-lazy-expire lazyfree-lazy-server-del lazyfree-lazy-user-del
    lazyfree-lazy-user-flush lfu-decay-time lfu-log-factor list-compress-depth list-max-listpack-size logfile loglevel lua-time-limit masterauth
    masteruser maxclients maxmemory maxmemory-clients maxmemory-eviction-tenacity maxmemory-policy maxmemory-samples min-replicas-max-lag
    min-replicas-to-write no-appendfsync-on-rewrite notify-keyspace-events oom-score-adj oom-score-adj-values pidfile port proc-title-template
    propagation-error-behavior protected-mode proto-max-bulk-len rdb-del-sync-files rdb-save-incremental-fsync rdbchecksum rdbcompression
    repl-backlog-size repl-backlog-ttl repl-disable-tcp-nodelay repl-diskless-load repl-diskless-sync repl-diskless-sync-delay
    repl-diskless-sync-max-replicas repl-ping-replica-period repl-timeout replica-announce-ip replica-announce-port replica-announced
    replica-ignore-disk-write-errors replica-ignore-maxmemory replica-lazy-flush replica-priority replica-read-only replica-serve-stale-data replicaof
    requirepass sanitize-dump-payload save server_cpulist set-max-intset-entries set-proc-title shutdown-on-sigint shutdown-on-sigterm shutdown-timeout
    slowlog-log-slower-than slowlog-max-len socket-mark-id stop-writes-on-bgsave-error stream-node-max-bytes stream-node-max-entries supervised
    syslog-enabled syslog-facility syslog-ident tcp-backlog tcp-keepalive timeout tls-auth-clients tls-ca-cert-dir tls-ca-cert-file tls-cert-file
    tls-ciphers tls-ciphersuites tls-client-cert-file tls-client-key-file tls-client-key-file-pass tls-cluster tls-dh-params-file tls-key-file
    tls-key-file-pass tls-port tls-prefer-server-ciphers tls-protocols tls-replication tls-session-cache-size tls-session-cache-timeout
    tls-session-caching tracking-table-max-keys unixsocket unixsocketperm zset-max-listpack-entries zset-max-listpack-value
    """
)

# What Redis 7.2 has beside them (its release notes).
REDIS_NEWER = _names(
    "cluster-announce-human-nodename locale-collate set-max-listpack-entries set-max-listpack-value"
)

# PgBouncer 1.24, SHOW CONFIG: what its column "changeable" denies.
PGBOUNCER_AT_START = _names(
    """
    disable_pqexec job_name listen_addr listen_backlog listen_port pidfile pkt_buf resolv_conf so_reuseport track_extra_parameters unix_socket_dir
    unix_socket_group unix_socket_mode user
    """
)

# The others: a reload takes them.
PGBOUNCER_RELOADED = _names(
    """
    admin_users application_name_add_host auth_dbname auth_file auth_hba_file auth_ident_file auth_query auth_type auth_user autodb_idle_timeout
    cancel_wait_timeout client_idle_timeout client_login_timeout client_tls_ca_file client_tls_cert_file client_tls_ciphers client_tls_dheparams
    client_tls_ecdhcurve client_tls_key_file client_tls_protocols client_tls_sslmode conffile default_pool_size dns_max_ttl dns_nxdomain_ttl
    dns_zone_check_period idle_transaction_timeout ignore_startup_parameters log_connections log_disconnections log_pooler_errors log_stats logfile
    max_client_conn max_db_client_connections max_db_connections max_packet_size max_prepared_statements max_user_client_connections max_user_connections
    min_pool_size peer_id pool_mode query_timeout query_wait_timeout reserve_pool_size reserve_pool_timeout sbuf_loopcnt server_check_delay
    server_check_query server_connect_timeout server_fast_close server_idle_timeout server_lifetime server_login_retry server_reset_query
    server_reset_query_always server_round_robin server_tls_ca_file server_tls_cert_file server_tls_ciphers server_tls_key_file server_tls_protocols
    server_tls_sslmode stats_period stats_users suspend_timeout syslog syslog_facility syslog_ident tcp_defer_accept tcp_keepalive tcp_keepcnt
    tcp_keepidle tcp_keepintvl tcp_socket_buffer tcp_user_timeout verbose
    """
)

# What PgBouncer 1.25 has beside them (its src/main.c); a reload takes them.
PGBOUNCER_NEWER = _names(
    "auth_ldap_options client_tls13_ciphers query_wait_notify scram_iterations server_tls13_ciphers transaction_timeout"
)
