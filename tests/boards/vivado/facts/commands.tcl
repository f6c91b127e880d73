# Commands that the stand-in knows, in the syntax that UG835 (2022.2) prints; -quiet and -verbose belong to all.

namespace eval standin {
    # --- project ---
    command version {[-short]}
    command create_project {[-part <arg>] [-force] [-in_memory] [-ip] [-rtl_kernel] [<name>] [<dir>]}
    command open_project {[-read_only] [-part <arg>] <file>}
    command close_project {[-delete]}
    command current_project {[<project>]}
    command get_projects {[-regexp] [-nocase] [-filter <arg>] [<patterns>...]}
    command set_part {<part>}
    command get_parts {[-regexp] [-nocase] [-filter <arg>] [-of_objects <args>] [<patterns>...]}
    command get_board_parts {
        [-regexp] [-nocase] [-latest_file_version] [-latest_hw_revision] [-filter <arg>] [-of_objects <args>]
        [<patterns>...]
    }
    command set_property {[-name <arg>] [-value <arg>] [-objects <args>] [-dict <args>] [<arguments>...]}
    command get_property {[-min] [-max] <name> <object>}
    command list_property {[-class <arg>] [-regexp] [<object>] [<pattern>]}
    command report_property {
        [-all] [-class <arg>] [-return_string] [-file <arg>] [-append] [-regexp] [<object>] [<pattern>]
    }
    command filter {[-regexp] [-nocase] <objects> <filter>}
    command set_param {<name> <value>}
    command get_param {<name>}
    command set_msg_config {
        [-id <arg>] [-string <args>] [-severity <arg>] [-limit <arg>] [-new_severity <arg>] [-suppress]
    }
    command add_files {
        [-fileset <arg>] [-of_objects <args>] [-norecurse] [-copy_to <arg>] [-force] [-scan_for_includes] [<files>...]
    }
    command import_files {
        [-fileset <arg>] [-force] [-of_objects <args>] [-norecurse] [-flat] [-relative_to <arg>] [<files>...]
    }
    command remove_files {[-fileset <arg>] [<files>...]}
    command read_verilog {[-library <arg>] [-sv] <files>...}
    command read_xdc {[-cells <arg>] [-ref <arg>] [-unmanaged] [-no_add] [-mode <arg>] <files>...}
    command get_files {
        [-regexp] [-nocase] [-filter <arg>] [-compile_order <arg>] [-used_in <arg>] [-references] [-all]
        [-of_objects <args>] [-norecurse] [<patterns>...]
    }
    command get_filesets {[-regexp] [-nocase] [-filter <arg>] [-of_objects <args>] [<patterns>...]}
    command current_fileset {[-constrset] [-simset] [-srcset] [-blockset] [-utilset] [<fileset>]}
    command create_fileset {
        [-constrset] [-simset] [-blockset] [-clone_properties <arg>] [-define_from <arg>] [-srcset] [-utilset] <name>
    }
    command update_compile_order {[-force_gui] [-fileset <arg>]}
    command update_ip_catalog {
        [-rebuild] [-add_ip <arg>] [-delete_ip <arg>] [-delete_mult_ip <args>] [-disable_ip <arg>] [-enable_ip <arg>]
        [-add_interface <arg>] [-create_index] [-repo_path <arg>] [-update_module_ref] [-scan_changes]
    }
    command get_ipdefs {[-regexp] [-nocase] [-filter <arg>] [-all] [-of_objects <args>] [<patterns>...]}
    command get_ips {[-regexp] [-nocase] [-filter <arg>] [-exclude_bd_ips] [-all] [-of_objects <args>] [<patterns>...]}
    command startgroup {[-try]}
    command endgroup {}
    command config_ip_cache {
        [-disable_cache] [-use_cache_location <arg>] [-import_from_project] [-clear_output_repo] [-disable_for_ip]
        [<objects>...]
    }

    # --- block design (also UG994) ---
    command create_bd_design {[-dir <arg>] [-cell <arg>] [-bdsource <arg>] [-rtl] <name>}
    command open_bd_design {[-auto_upgrade] <name>...}
    command close_bd_design {<name>}
    command current_bd_design {[<design>]}
    command get_bd_designs {[-regexp] [-nocase] [-filter <arg>] [-of_objects <args>] [<patterns>...]}
    command current_bd_instance {[<instance>]}
    command save_bd_design {[<name>]}
    command save_bd_design_as {[-dir <arg>] [-ignore_comments] <name>}
    command validate_bd_design {[-force] [-design <arg>] [-include_pfm]}
    command regenerate_bd_layout {[-hierarchy <arg>] [-layout_file <arg>] [-routing] [-layout_string <arg>]}
    command create_bd_cell {[-vlnv <arg>] [-type <arg>] [-reference <arg>] [-revision <arg>] <name>}
    command delete_bd_objs {<objects>...}
    command create_bd_port {-dir <arg> [-from <arg>] [-to <arg>] [-type <arg>] [-freq_hz <arg>] <name>}
    command create_bd_intf_port {-mode <arg> -vlnv <arg> <name>}
    command create_bd_net {[-boundary] <name>}
    command create_bd_intf_net {[-boundary] <name>}
    command connect_bd_net {[-net <arg>] [-boundary] <objects>...}
    command connect_bd_intf_net {[-intf_net <arg>] [-auto_negotiate] [-boundary] <object1> <object2>}
    command disconnect_bd_net {<net> <objects>...}
    command get_bd_cells {[-regexp] [-hierarchical] [-filter <arg>] [-of_objects <args>] [<patterns>...]}
    command get_bd_pins {[-regexp] [-hierarchical] [-filter <arg>] [-of_objects <args>] [<patterns>...]}
    command get_bd_intf_pins {[-regexp] [-hierarchical] [-filter <arg>] [-of_objects <args>] [<patterns>...]}
    command get_bd_ports {[-regexp] [-filter <arg>] [-of_objects <args>] [<patterns>...]}
    command get_bd_intf_ports {[-regexp] [-filter <arg>] [-of_objects <args>] [<patterns>...]}
    command get_bd_nets {
        [-regexp] [-hierarchical] [-filter <arg>] [-boundary_type <arg>] [-of_objects <args>] [<patterns>...]
    }
    command get_bd_intf_nets {
        [-regexp] [-hierarchical] [-filter <arg>] [-boundary_type <arg>] [-of_objects <args>] [<patterns>...]
    }
    command make_bd_pins_external {[-name <arg>] <objects>...}
    command make_bd_intf_pins_external {[-name <arg>] <objects>...}
    command apply_bd_automation {-rule <arg> [-config <args>] [-dict <arg>] [-opts <arg>] <objects>...}
    command get_bd_addr_spaces {[-regexp] [-hierarchical] [-filter <arg>] [-of_objects <args>] [<patterns>...]}
    command get_bd_addr_segs {
        [-regexp] [-hierarchical] [-filter <arg>] [-excluded] [-addressed] [-unaddressed] [-addressing] [-addressables]
        [-of_objects <args>] [<patterns>...]
    }
    command assign_bd_address {
        [-target_address_space <arg>] [-boundary] [-master_boundary] [-external] [-dict <arg>]
        [-import_from_file <arg>] [-export_to_file <arg>] [-export_gui_to_file <arg>] [-offset <arg>] [-range <arg>]
        [-base_high <arg>] [-force] [<objects>...]
    }
    command create_bd_addr_seg {-range <arg> -offset <arg> [<parent_addr_space>] [<slave_segment>] <name>}
    command exclude_bd_addr_seg {[-target_address_space <arg>] [<segment_to_exclude>]}
    command include_bd_addr_seg {[<segment_to_include>]}
    command make_wrapper {[-top] [-testbench] [-inst_template] [-fileset <arg>] [-import] [-force] [-files <args>]}
    command generate_target {[-force] <name> <objects>...}
    command export_ip_user_files {
        [-of_objects <args>] [-ip_user_files_dir <arg>] [-ipstatic_source_dir <arg>] [-lib_map_path <arg>] [-no_script]
        [-sync] [-reset] [-force]
    }
    command write_bd_tcl {
        [-force] [-bd_name <arg>] [-no_mig_contents] [-no_ip_version] [-ignore_minor_versions] [-bd_folder <arg>]
        [-check_ips <arg>] [-hier_blks <args>] [-include_layout] [-exclude_layout] [-make_local] [-no_project_wrapper]
        [-exclude_pfm] <file_name>
    }

    # --- runs ---
    command get_runs {[-regexp] [-nocase] [-filter <arg>] [-of_objects <args>] [<patterns>...]}
    command current_run {[-synthesis] [-implementation] [<run>]}
    command create_run {
        [-constrset <arg>] [-parent_run <arg>] [-part <arg>] -flow <arg> [-strategy <arg>] [-report_strategy <arg>]
        [-pr_config <arg>] [-dfx_mode <arg>] <name>
    }
    command launch_runs {
        [-jobs <arg>] [-scripts_only] [-lsf <arg>] [-sge <arg>] [-dir <arg>] [-to_step <arg>] [-next_step]
        [-host <args>] [-remote_cmd <arg>] [-email_to <args>] [-email_all] [-pre_launch_script <arg>]
        [-post_launch_script <arg>] [-custom_script <arg>] [-force] <runs>...
    }
    command reset_runs {[-prev_step] [-from_step <arg>] [-noclean_dir] <runs>...}
    command reset_run {[-prev_step] [-from_step <arg>] [-noclean_dir] <run>}
    command wait_on_run {[-timeout <arg>] [-exit_condition <arg>] <runs>...}
    command wait_on_runs {[-timeout <arg>] [-exit_condition <arg>] <runs>...}
    command open_run {[-name <arg>] [-pr_config <arg>] <run>}
    command close_design {}
    command current_design {[<design>]}
    # -file is how Vivado's own journal writes the positional argument.
    command write_hw_platform {
        [-fixed] [-force] [-include_bit] [-include_sim_content] [-minimal] [-hw] [-hw_emu] [-file <arg>] [<file>]
    }
    command validate_hw_platform {[<file>]}
    command write_bitstream {
        [-force] [-raw_bitfile] [-no_binary_bitfile] [-mask_file] [-readback_file] [-logic_location_file] [-bin_file]
        [-reference_bitfile <arg>] [-cell <arg>] [-no_partial_bitfile] <file>
    }
    command write_checkpoint {
        [-force] [-cell <arg>] [-logic_function_stripped] [-encrypt] [-key <arg>] [-incremental_synth] <file>
    }
    command write_debug_probes {[-cell <arg>] [-no_partial_ltxfile] [-force] <file>}

    # --- reports: need an open design ---
    command report_timing_summary {
        [-check_timing_verbose] [-delay_type <arg>] [-no_detailed_paths] [-setup] [-hold] [-max_paths <arg>]
        [-nworst <arg>] [-unique_pins] [-path_type <arg>] [-no_reused_label] [-input_pins] [-no_pblock]
        [-slack_lesser_than <arg>] [-report_unconstrained] [-significant_digits <arg>] [-no_header] [-file <arg>]
        [-append] [-name <arg>] [-return_string] [-warn_on_violation] [-datasheet] [-cells <args>] [-rpx <arg>]
    }
    command report_timing {
        [-from <args>] [-to <args>] [-through <args>] [-delay_type <arg>] [-setup] [-hold] [-max_paths <arg>]
        [-nworst <arg>] [-unique_pins] [-path_type <arg>] [-input_pins] [-no_header] [-slack_lesser_than <arg>]
        [-group <args>] [-sort_by <arg>] [-significant_digits <arg>] [-file <arg>] [-append] [-name <arg>]
        [-of_objects <args>] [-return_string] [-rpx <arg>]
    }
    command report_utilization {
        [-file <arg>] [-append] [-pblocks <args>] [-evaluate_pblock] [-exclude_child_pblocks] [-exclude_non_assigned]
        [-cells <args>] [-return_string] [-slr] [-packthru] [-name <arg>] [-no_primitives] [-omit_locs] [-hierarchical]
        [-spreadsheet_file <arg>] [-spreadsheet_table <arg>] [-spreadsheet_depth <arg>] [-hierarchical_depth <arg>]
        [-hierarchical_percentages] [-hierarchical_min_primitive_count <arg>]
    }
    command report_power {
        [-no_propagation] [-hier <arg>] [-hierarchical_depth <arg>] [-vid] [-advisory] [-file <arg>] [-name <arg>]
        [-format <arg>] [-xpe <arg>] [-l <arg>] [-return_string] [-append] [-rpx <arg>]
    }
    command report_clock_interaction {
        [-delay_type <arg>] [-setup] [-hold] [-significant_digits <arg>] [-no_header] [-file <arg>] [-append]
        [-name <arg>] [-return_string] [-cells <args>]
    }
    command report_clocks {[-file <arg>] [-append] [-return_string] [<clocks>...]}
    command report_clock_networks {
        [-file <arg>] [-append] [-name <arg>] [-return_string] [-endpoints_only] [-levels <arg>] [-unconstrained_only]
    }
    command report_clock_utilization {
        [-file <arg>] [-append] [-write_xdc <arg>] [-clock_roots_only] [-cells <args>] [-return_string] [-name <arg>]
    }
    command report_cdc {
        [-from <args>] [-to <args>] [-cells <args>] [-details] [-summary] [-all_checks_per_endpoint] [-severity <arg>]
        [-no_header] [-show_waiver] [-no_waiver] [-waived] [-file <arg>] [-append] [-name <arg>] [-return_string]
    }
    command report_drc {
        [-name <arg>] [-upgrade_cw] [-checks <args>] [-ruledecks <args>] [-file <arg>] [-rpx <arg>] [-append] [-waived]
        [-no_waivers] [-return_string]
    }
    command report_methodology {
        [-name <arg>] [-cells <args>] [-checks <args>] [-file <arg>] [-rpx <arg>] [-append] [-waived] [-no_waivers]
        [-slack_lesser_than <arg>] [-return_string]
    }
    command report_route_status {
        [-return_string] [-file <arg>] [-append] [-of_objects <args>] [-route_type <arg>] [-list_all_nets] [-show_all]
        [-has_routing] [-boolean_check <arg>] [-ignore_cache]
    }
    command report_control_sets {
        [-file <arg>] [-append] [-sort_by <args>] [-cells <args>] [-return_string] [-hierarchical]
        [-hierarchical_depth <arg>]
    }
    command report_high_fanout_nets {
        [-file <arg>] [-format <arg>] [-append] [-ascending] [-timing] [-histogram] [-load_types] [-clock_regions]
        [-slr] [-max_nets <arg>] [-fanout_greater_than <arg>] [-fanout_lesser_than <arg>] [-name <arg>] [-cells <args>]
        [-clocks <args>] [-return_string]
    }
    command report_design_analysis {
        [-file <arg>] [-append] [-return_string] [-complexity] [-cells <args>] [-bounding_boxes <args>]
        [-hierarchical_depth <arg>] [-congestion] [-min_congestion_level <arg>] [-timing] [-setup] [-hold] [-show_all]
        [-full_logical_pin] [-routed_vs_estimated] [-logic_level_distribution] [-logic_level_dist_paths <arg>]
        [-min_level <arg>] [-max_level <arg>] [-return_timing_paths] [-of_timing_paths <args>] [-max_paths <arg>]
        [-extend] [-routes] [-end_point_clock <arg>] [-logic_levels <arg>] [-qor_summary] [-name <arg>]
        [-no_pr_attribute] [-csv <arg>]
    }
    command report_qor_assessment {
        [-name <arg>] [-file <arg>] [-append] [-csv_output_dir <arg>] [-exclude_methodology_checks] [-max_paths <arg>]
        [-return_string] [-full_assessment_details]
    }
    command report_qor_suggestions {
        [-file <arg>] [-name <arg>] [-append] [-return_string] [-max_strategies <arg>] [-max_paths <arg>]
        [-evaluate_pipelining] [-no_split] [-quiet_mode] [-report_all_suggestions] [-csv <arg>] [-of_objects <args>]
    }
    command report_ram_utilization {
        [-append] [-file <arg>] [-include_lutram] [-include_path_info] [-csv <arg>] [-cells <args>] [-return_string]
    }
    command report_io {[-file <arg>] [-name <arg>] [-append] [-format <arg>] [-return_string]}
    command report_incremental_reuse {
        [-file <arg>] [-append] [-cells <args>] [-hierarchical] [-hierarchical_depth <arg>] [-return_string]
    }
    command check_timing {
        [-file <arg>] [-no_header] [-loop_limit <arg>] [-append] [-name <arg>] [-override_defaults <args>]
        [-include_signal] [-exclude_signal] [-return_string] [-cells <args>]
    }
    command read_saif {[-strip_path <arg>] [-no_strip] [-out_file <arg>] <file>}
    command set_switching_activity {
        [-toggle_rate <arg>] [-default_toggle_rate <arg>] [-type <args>] [-static_probability <arg>]
        [-default_static_probability <arg>] [-signal_rate <arg>] [-hier] [-deassert_resets] [<objects>...]
    }
    command get_timing_paths {
        [-from <args>] [-to <args>] [-through <args>] [-delay_type <arg>] [-setup] [-hold] [-max_paths <arg>]
        [-nworst <arg>] [-unique_pins] [-slack_lesser_than <arg>] [-group <args>] [-sort_by <arg>] [-filter <arg>]
        [-regexp] [-nocase]
    }

    # --- netlist and constraints (UG903: all of these are allowed in an XDC file) ---
    command get_cells {
        [-hsc <arg>] [-hierarchical] [-regexp] [-nocase] [-filter <arg>] [-of_objects <args>] [-match_style <arg>]
        [-include_replicated_objects] [<patterns>...]
    }
    command get_pins {
        [-hsc <arg>] [-hierarchical] [-regexp] [-nocase] [-leaf] [-filter <arg>] [-of_objects <args>]
        [-match_style <arg>] [-include_replicated_objects] [<patterns>...]
    }
    command get_ports {
        [-regexp] [-nocase] [-filter <arg>] [-of_objects <args>] [-match_style <arg>] [-scoped_to_current_instance]
        [-no_traverse] [-prop_thru_buffers] [<patterns>...]
    }
    command get_nets {
        [-hsc <arg>] [-hierarchical] [-regexp] [-nocase] [-filter <arg>] [-of_objects <args>] [-match_style <arg>]
        [-top_net_of_hierarchical_group] [-segments] [-boundary_type <arg>] [<patterns>...]
    }
    command get_clocks {
        [-regexp] [-nocase] [-filter <arg>] [-of_objects <args>] [-match_style <arg>] [-include_generated_clocks]
        [<patterns>...]
    }
    command all_clocks {}
    command all_inputs {}
    command all_outputs {}
    command create_clock {-period <arg> [-name <arg>] [-waveform <args>] [-add] [<objects>...]}
    command create_generated_clock {
        [-name <arg>] -source <args> [-edges <args>] [-divide_by <arg>] [-multiply_by <arg>] [-combinational]
        [-duty_cycle <arg>] [-invert] [-edge_shift <args>] [-add] [-master_clock <arg>] <objects>...
    }
    command set_clock_groups {
        [-name <arg>] [-logically_exclusive] [-physically_exclusive] [-asynchronous] [-group <args>]
    }
    command set_clock_uncertainty {
        [-setup] [-hold] [-from <args>] [-rise_from <args>] [-fall_from <args>] [-to <args>] [-rise_to <args>]
        [-fall_to <args>] <uncertainty> [<objects>...]
    }
    command set_false_path {
        [-setup] [-hold] [-rise] [-fall] [-reset_path] [-from <args>] [-rise_from <args>] [-fall_from <args>]
        [-to <args>] [-rise_to <args>] [-fall_to <args>] [-through <args>] [-rise_through <args>]
        [-fall_through <args>]
    }
    command set_max_delay {
        [-rise] [-fall] [-reset_path] [-from <args>] [-rise_from <args>] [-fall_from <args>] [-to <args>]
        [-rise_to <args>] [-fall_to <args>] [-through <args>] [-rise_through <args>] [-fall_through <args>]
        [-datapath_only] <delay>
    }
    command set_min_delay {
        [-rise] [-fall] [-reset_path] [-from <args>] [-rise_from <args>] [-fall_from <args>] [-to <args>]
        [-rise_to <args>] [-fall_to <args>] [-through <args>] [-rise_through <args>] [-fall_through <args>] <delay>
    }
    command set_multicycle_path {
        [-setup] [-hold] [-rise] [-fall] [-start] [-end] [-reset_path] [-from <args>] [-rise_from <args>]
        [-fall_from <args>] [-to <args>] [-rise_to <args>] [-fall_to <args>] [-through <args>] [-rise_through <args>]
        [-fall_through <args>] <path_multiplier>
    }
    command set_input_delay {
        [-clock <args>] [-reference_pin <args>] [-clock_fall] [-rise] [-fall] [-max] [-min] [-add_delay]
        [-network_latency_included] [-source_latency_included] <delay> <objects>...
    }
    command set_output_delay {
        [-clock <args>] [-reference_pin <args>] [-clock_fall] [-rise] [-fall] [-max] [-min] [-add_delay]
        [-network_latency_included] [-source_latency_included] <delay> <objects>...
    }
    command set_bus_skew {
        [-from <args>] [-rise_from <args>] [-fall_from <args>] [-to <args>] [-rise_to <args>] [-fall_to <args>]
        [-through <args>] [-rise_through <args>] [-fall_through <args>] <value>
    }
    command create_waiver {
        [-type <arg>] [-id <arg>] [-objects <args>] [-from <args>] [-to <args>] [-strings <args>] [-of_objects <args>]
        [-user <arg>] -description <arg> [-tags <arg>] [-timestamp <arg>] [-scoped]
    }
    command create_pblock {<name>}

    # --- packager (UG1118); ipx::* ---
    command ipx::package_project {
        [-root_dir <arg>] [-vendor <arg>] [-library <arg>] [-name <arg>] [-version <arg>] [-taxonomy <arg>]
        [-import_files] [-set_current <arg>] [-force] [-force_update_compile_order] [-archive_source_project <arg>]
        [-module <arg>] [-generated_files] [-component <arg>]
    }
    command ipx::create_core {[-set_current <arg>] <vendor> <library> <name> <version>}
    command ipx::current_core {[<core>]}
    command ipx::open_core {[-set_current <arg>] <file>}
    command ipx::unload_core {[-delete] [<component>]}
    command ipx::save_core {[<component>]}
    command ipx::check_integrity {[-kernel] [-xrt] [<component>]}
    command ipx::update_checksums {[<component>]}
    command ipx::create_xgui_files {[-logo_file <arg>] [<component>]}
    command ipx::merge_project_changes {[-autoload_checkpoint <arg>] <name> <component>}
    command ipx::infer_bus_interface {<ports> <bus_abstraction> <component>}
    command ipx::infer_bus_interfaces {<bus_abstraction> <component>}
    command ipx::associate_bus_interfaces {[-busif <arg>] [-clock <arg>] [-reset <arg>] [-clear] [-remove] <component>}
    command ipx::get_bus_interfaces {[-regexp] [-nocase] [-filter <arg>] [-of_objects <args>] [<patterns>...]}
    command ipx::add_bus_interface {<name> <component>}
    command ipx::remove_bus_interface {<name> <component>}
    command ipx::get_bus_parameters {[-regexp] [-nocase] [-filter <arg>] [-of_objects <args>] [<patterns>...]}
    command ipx::add_bus_parameter {<name> <bus_interface>}
    command ipx::add_memory_map {<name> <component>}
    command ipx::get_memory_maps {[-regexp] [-nocase] [-filter <arg>] [-of_objects <args>] [<patterns>...]}
    command ipx::add_address_block {<name> <memory_map>}
    command ipx::get_address_blocks {[-regexp] [-nocase] [-filter <arg>] [-of_objects <args>] [<patterns>...]}
    command ipx::add_register {<name> <address_block>}
    command ipx::get_registers {[-regexp] [-nocase] [-filter <arg>] [-of_objects <args>] [<patterns>...]}
    command ipx::add_field {<name> <register>}
    command ipx::get_fields {[-regexp] [-nocase] [-filter <arg>] [-of_objects <args>] [<patterns>...]}
    command ipx::get_ports {[-regexp] [-nocase] [-filter <arg>] [-of_objects <args>] [<patterns>...]}
    command ipx::get_file_groups {[-regexp] [-nocase] [-filter <arg>] [-of_objects <args>] [<patterns>...]}
    command ipx::add_file_group {[-type <arg>] <name> <component>}
    command ipx::add_file {<name> <file_group>}
    command ipx::get_address_spaces {[-regexp] [-nocase] [-filter <arg>] [-of_objects <args>] [<patterns>...]}
    command ipx::add_address_space {<name> <component>}

    # Commands of UG903 that an XDC file may hold, with the Tcl that it may hold.
    variable constraint_commands {
        create_clock create_generated_clock set_clock_groups set_clock_uncertainty set_false_path set_max_delay
        set_min_delay set_multicycle_path set_input_delay set_output_delay set_bus_skew create_waiver create_pblock
        set_property get_property
        get_cells get_pins get_ports get_nets get_clocks all_clocks all_inputs all_outputs current_design filter
    }
    variable constraint_tcl {set list expr lindex llength}
}
