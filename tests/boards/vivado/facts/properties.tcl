# Properties by type of object: {NAME {default kind ...}} (UG912; runs: UG901, UG904, with their lists of strategies).

namespace eval standin {
    variable properties

    set properties(any) {
        NAME {"" readonly}  CLASS {"" readonly}
    }
    set properties(project) {
        PART {"" text}  BOARD_PART {"" text}  BOARD_CONNECTIONS {"" any}  DEFAULT_LIB {xil_defaultlib text}
        TARGET_LANGUAGE {Verilog enum Verilog VHDL}  SIMULATOR_LANGUAGE {Mixed enum Mixed Verilog VHDL}
        IP_REPO_PATHS {"" any}  IP_OUTPUT_REPO {"" any}  IP_CACHE_PERMISSIONS {"" any}  XPM_LIBRARIES {"" any}
        ENABLE_VHDL_2008 {1 boolean}  DIRECTORY {"" readonly}  PLATFORM.NAME {"" text}  PLATFORM.VENDOR {"" text}
        PLATFORM.VERSION {"" text}  PLATFORM.EXTENSIBLE {false boolean}  CORECONTAINER.ENABLE {0 boolean}
        DSA.NAME {"" text}  SOURCE_MGMT_MODE {All enum None DisplayOnly All}
    }
    set properties(part) { FAMILY {"" readonly}  SPEED {"" readonly}  DEVICE {"" readonly} }
    set properties(board_part) { PART_NAME {"" readonly}  BOARD_NAME {"" readonly}  FILE_VERSION {"" readonly} }
    set properties(fileset) {
        TOP {"" text}  TOP_FILE {"" any}  TOP_LIB {"" any}  INCLUDE_DIRS {"" any}  VERILOG_DEFINE {"" any}
        GENERIC {"" any}
        IP_REPO_PATHS {"" any}  FILESET_TYPE {"" readonly}  TARGET_CONSTRS_FILE {"" any}
        DESIGN_MODE {RTL enum RTL GateLvl PinPlanning}
        SOURCE_SET {sources_1 any}
    }
    set properties(file) {
        FILE_TYPE {"" enum Verilog {Verilog Header} SystemVerilog VHDL {VHDL 2008} XDC TCL IP {Block Designs}
            {Memory Initialization Files}}
        USED_IN {"" any}  USED_IN_SYNTHESIS {true boolean}  USED_IN_IMPLEMENTATION {true boolean}
        USED_IN_SIMULATION {true boolean}
        PROCESSING_ORDER {NORMAL enum EARLY NORMAL LATE}  SCOPED_TO_REF {"" any}  SCOPED_TO_CELLS {"" any}
        IS_ENABLED {1 boolean}
        IS_GLOBAL_INCLUDE {0 boolean}  LIBRARY {xil_defaultlib any}
        SYNTH_CHECKPOINT_MODE {Hierarchical enum None Singular Hierarchical}
        GENERATE_SYNTH_CHECKPOINT {true boolean}  REGISTERED_WITH_MANAGER {1 boolean}
    }
    set directives_synth {
        Default RuntimeOptimized AreaOptimized_high AreaOptimized_medium AlternateRoutability
        AreaMapLargeShiftRegToBRAM AreaMultThresholdDSP FewerCarryChains PerformanceOptimized LogicCompaction
        PowerOptimized_high PowerOptimized_medium
    }
    set directives_opt {
        Default Explore ExploreArea ExploreSequentialArea ExploreWithRemap AddRemap NoBramPowerOpt RuntimeOptimized RQS
    }
    set directives_place {
        Default Explore WLDrivenBlockPlacement EarlyBlockPlacement ExtraNetDelay_high ExtraNetDelay_low
        AltSpreadLogic_high AltSpreadLogic_medium AltSpreadLogic_low ExtraPostPlacementOpt ExtraTimingOpt
        SSI_SpreadLogic_high SSI_SpreadLogic_low SSI_SpreadSLLs SSI_BalanceSLLs SSI_BalanceSLRs SSI_HighUtilSLRs
        RuntimeOptimized Quick RQS Auto_1 Auto_2 Auto_3
    }
    set directives_phys {
        Default Explore ExploreWithHoldFix ExploreWithAggressiveHoldFix AggressiveExplore AlternateReplication
        AggressiveFanoutOpt AddRetime AlternateFlowWithRetiming RuntimeOptimized RQS
    }
    set directives_route {
        Default Explore AggressiveExplore NoTimingRelaxation MoreGlobalIterations HigherDelayCost AlternateCLBRouting
        RuntimeOptimized Quick RQS
    }
    set strategies_synth {
        {Vivado Synthesis Defaults} Flow_AreaOptimized_high Flow_AreaOptimized_medium Flow_AreaMultThresholdDSP
        Flow_AlternateRoutability Flow_PerfOptimized_high Flow_PerfThresholdCarry Flow_RuntimeOptimized
    }
    set strategies_impl {
        {Vivado Implementation Defaults} Performance_Explore Performance_ExplorePostRoutePhysOpt
        Performance_ExploreWithRemap Performance_WLBlockPlacement Performance_WLBlockPlacementFanoutOpt
        Performance_EarlyBlockPlacement Performance_NetDelay_high Performance_NetDelay_low Performance_Retiming
        Performance_ExtraTimingOpt Performance_RefinePlacement Performance_SpreadSLLs Performance_BalanceSLLs
        Performance_BalanceSLRs Performance_HighUtilSLRs Congestion_SpreadLogic_high Congestion_SpreadLogic_medium
        Congestion_SpreadLogic_low Congestion_SSI_SpreadLogic_high Congestion_SSI_SpreadLogic_low Area_Explore
        Area_ExploreSequential Area_ExploreWithRemap Power_DefaultOpt Power_ExploreArea Flow_RunPhysOpt
        Flow_RunPostRoutePhysOpt Flow_RuntimeOptimized Flow_Quick
    }
    set run_common {
        PROGRESS {0% readonly}  STATUS {{Not started} readonly}  DIRECTORY {"" readonly}  NEEDS_REFRESH {0 readonly}
        PARENT {"" readonly}
        IS_SYNTHESIS {"" readonly}  IS_IMPLEMENTATION {"" readonly}  PART {"" any}  CONSTRSET {constrs_1 any}
        SRCSET {sources_1 any}
        AUTO_INCREMENTAL_CHECKPOINT {0 boolean}  INCREMENTAL_CHECKPOINT {"" any}  REPORT_STRATEGY {"" any}
        FLOW {"" any}  DESCRIPTION {"" any}
        STATS.WNS {"" readonly}  STATS.TNS {"" readonly}  STATS.WHS {"" readonly}  STATS.THS {"" readonly}
        STATS.TPWS {"" readonly}  STATS.ELAPSED {"" readonly}
    }
    set properties(synth_run) [concat $run_common [subst {
        STRATEGY {{Vivado Synthesis Defaults} enum $strategies_synth}
        STEPS.SYNTH_DESIGN.ARGS.DIRECTIVE {Default enum $directives_synth}
        STEPS.SYNTH_DESIGN.ARGS.FLATTEN_HIERARCHY {rebuilt enum rebuilt full none}
        STEPS.SYNTH_DESIGN.ARGS.GATED_CLOCK_CONVERSION {off enum off on auto}
        STEPS.SYNTH_DESIGN.ARGS.BUFG {12 integer 0 96}
        STEPS.SYNTH_DESIGN.ARGS.FANOUT_LIMIT {10000 integer 1 1000000}
        STEPS.SYNTH_DESIGN.ARGS.FSM_EXTRACTION {auto enum auto off one_hot sequential johnson gray user_encoding none}
        STEPS.SYNTH_DESIGN.ARGS.KEEP_EQUIVALENT_REGISTERS {false boolean}
        STEPS.SYNTH_DESIGN.ARGS.RESOURCE_SHARING {auto enum auto on off}
        STEPS.SYNTH_DESIGN.ARGS.CONTROL_SET_OPT_THRESHOLD {auto enum auto 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16}
        STEPS.SYNTH_DESIGN.ARGS.NO_LC {false boolean}
        STEPS.SYNTH_DESIGN.ARGS.NO_SRLEXTRACT {false boolean}
        STEPS.SYNTH_DESIGN.ARGS.SHREG_MIN_SIZE {3 integer 1 100}
        STEPS.SYNTH_DESIGN.ARGS.MAX_BRAM {-1 integer -1 100000}
        STEPS.SYNTH_DESIGN.ARGS.MAX_URAM {-1 integer -1 100000}
        STEPS.SYNTH_DESIGN.ARGS.MAX_DSP {-1 integer -1 100000}
        STEPS.SYNTH_DESIGN.ARGS.MAX_BRAM_CASCADE_HEIGHT {-1 integer -1 100000}
        STEPS.SYNTH_DESIGN.ARGS.MAX_URAM_CASCADE_HEIGHT {-1 integer -1 100000}
        STEPS.SYNTH_DESIGN.ARGS.RETIMING {false boolean}
        STEPS.SYNTH_DESIGN.ARGS.CASCADE_DSP {auto enum auto tree force}
        STEPS.SYNTH_DESIGN.ARGS.ASSERT {false boolean}
        STEPS.SYNTH_DESIGN.ARGS.INCREMENTAL_MODE {default enum default quick aggressive off}
        {STEPS.SYNTH_DESIGN.ARGS.MORE OPTIONS} {"" any}
        STEPS.SYNTH_DESIGN.TCL.PRE {"" any}  STEPS.SYNTH_DESIGN.TCL.POST {"" any}
    }]]
    set steps {}
    foreach {step directives enabled} [list OPT $directives_opt 1 PLACE $directives_place 1 \
            PHYS_OPT $directives_phys 1 ROUTE $directives_route 1 POST_ROUTE_PHYS_OPT $directives_phys 0] {
        lappend steps STEPS.${step}_DESIGN.ARGS.DIRECTIVE [list Default enum {*}$directives]
        lappend steps "STEPS.${step}_DESIGN.ARGS.MORE OPTIONS" {"" any}
        lappend steps STEPS.${step}_DESIGN.TCL.PRE {"" any} STEPS.${step}_DESIGN.TCL.POST {"" any}
        if {$step ni {PLACE ROUTE}} { lappend steps STEPS.${step}_DESIGN.IS_ENABLED [list $enabled boolean] }
    }
    set properties(impl_run) [concat $run_common $steps [subst {
        STRATEGY {{Vivado Implementation Defaults} enum $strategies_impl}
        STEPS.POWER_OPT_DESIGN.IS_ENABLED {0 boolean}  STEPS.POST_PLACE_POWER_OPT_DESIGN.IS_ENABLED {0 boolean}
        STEPS.WRITE_BITSTREAM.ARGS.BIN_FILE {0 boolean}  STEPS.WRITE_BITSTREAM.ARGS.RAW_BITFILE {0 boolean}
        STEPS.WRITE_BITSTREAM.TCL.PRE {"" any}  STEPS.WRITE_BITSTREAM.TCL.POST {"" any}
        STEPS.INIT_DESIGN.TCL.PRE {"" any}  STEPS.INIT_DESIGN.TCL.POST {"" any}
    }]]
    variable implementation_steps {
        init_design opt_design power_opt_design place_design post_place_power_opt_design phys_opt_design route_design
        post_route_phys_opt_design write_bitstream
    }

    # Block design objects: their CONFIG.* come from the IP cells' own tables.
    set properties(bd_design) { FILE_NAME {"" readonly}  VALIDATED {"" readonly}  SYNTH_FLOW_MODE {Hierarchical any} }
    set properties(bd_cell) {
        VLNV {"" readonly}  TYPE {"" readonly}  PATH {"" readonly}  SCREENSIZE {"" any}  SELECTED_SIM_MODEL {"" any}
        USER_COMMENTS {"" any}
    }
    foreach type {bd_pin bd_port} {
        set properties($type) {
            DIR {"" readonly}  TYPE {"" readonly}  PATH {"" readonly}  LEFT {"" readonly}  RIGHT {"" readonly}
            INTF {FALSE readonly}
        }
    }
    foreach type {bd_intf_pin bd_intf_port} {
        set properties($type) { MODE {"" readonly}  VLNV {"" readonly}  PATH {"" readonly} }
    }
    foreach type {bd_net bd_intf_net} { set properties($type) { PATH {"" readonly} } }
    set properties(bd_addr_space) { PATH {"" readonly}  RANGE {"" readonly}  OFFSET {"" readonly} }
    set properties(bd_addr_seg) {
        OFFSET {"" any}  RANGE {"" any}  ACCESS {read-write any}  USAGE {"" readonly}  PATH {"" readonly}
        OVERRIDE_HDL_PARAMETERS {"" any}
    }
    set properties(ip) { VLNV {"" readonly}  IPDEF {"" readonly} }
    set properties(ipdef) { VLNV {"" readonly} }

    # Netlist.
    set properties(design) {
        BITSTREAM.GENERAL.COMPRESS {FALSE enum TRUE FALSE}
        BITSTREAM.CONFIG.UNUSEDPIN {pulldown enum pulldown pullup pullnone}
        BITSTREAM.CONFIG.OVERTEMPSHUTDOWN {DISABLE enum ENABLE DISABLE}  CFGBVS {"" enum GND VCCO}
        CONFIG_VOLTAGE {"" enum 1.5 1.8 2.5 3.3}
    }
    set properties(cell) {
        REF_NAME {"" readonly}  ORIG_REF_NAME {"" readonly}  IS_PRIMITIVE {"" readonly}  PRIMITIVE_TYPE {"" readonly}
        PRIMITIVE_GROUP {"" readonly}
        ASYNC_REG {"" boolean}  DONT_TOUCH {"" boolean}  KEEP_HIERARCHY {"" enum yes no soft true false}
        MAX_FANOUT {"" any}  FORCE_MAX_FANOUT {"" any}
        LOC {"" any}  PBLOCK {"" any}  RAM_STYLE {"" enum block distributed registers ultra auto mixed}
    }
    set properties(port) {
        PACKAGE_PIN {"" text}  IOSTANDARD {"" text}  LOC {"" text}  SLEW {"" enum SLOW FAST MEDIUM}
        DRIVE {"" integer 2 24}  PULLTYPE {"" enum PULLUP PULLDOWN KEEPER}  DIRECTION {"" readonly}
    }
    set properties(net) {
        MAX_FANOUT {"" any}  FORCE_MAX_FANOUT {"" any}  DONT_TOUCH {"" boolean}  MARK_DEBUG {"" boolean}
        CLOCK_DEDICATED_ROUTE {"" any}
    }
    set properties(pin) { DIRECTION {"" readonly}  REF_PIN_NAME {"" readonly}  IS_CLOCK {"" readonly} }
    set properties(clock) {
        PERIOD {"" readonly}  WAVEFORM {"" readonly}  IS_GENERATED {"" readonly}  SOURCE_PINS {"" readonly}
    }
    set properties(timing_path) {
        SLACK {0 readonly}  LOGIC_LEVELS {0 readonly}  STARTPOINT_PIN {"" readonly}  ENDPOINT_PIN {"" readonly}
        DATAPATH_DELAY {0 readonly}
    }
    set properties(pblock) {}

    # Packager (UG1118).
    set properties(ipx_core) {
        VENDOR {"" text}  LIBRARY {"" text}  NAME {"" text}  VERSION {"" text}  DISPLAY_NAME {"" text}
        DESCRIPTION {"" text}  VENDOR_DISPLAY_NAME {"" text}
        COMPANY_URL {"" text}  CORE_REVISION {1 integer 0 2147483647}  SUPPORTED_FAMILIES {"" any}
        AUTO_FAMILY_SUPPORT_LEVEL {level_1 enum level_0 level_1 level_2}
        TAXONOMY {"" text}  ROOT_DIRECTORY {"" readonly}  PAYMENT_REQUIRED {false boolean}
        PREVIOUS_VERSION_FOR_UPGRADE {"" any}  SUPPORTED {"" any}
        SDX_KERNEL {false boolean}  SDX_KERNEL_TYPE {"" enum rtl hls mixed}  IPI_DRC {"" any}
    }
    set properties(ipx_bus_interface) {
        ABSTRACTION_TYPE_VLNV {"" text}  BUS_TYPE_VLNV {"" text}  INTERFACE_MODE {"" enum master slave monitor}
        DISPLAY_NAME {"" text}  DESCRIPTION {"" text}  SLAVE_MEMORY_MAP_REF {"" any}  MASTER_ADDRESS_SPACE_REF {"" any}
    }
    set properties(ipx_bus_parameter) { VALUE {"" any}  VALUE_RESOLVE_TYPE {"" any}  VALUE_FORMAT {"" any} }
    set properties(ipx_memory_map) { DISPLAY_NAME {"" text}  DESCRIPTION {"" text}  ADDRESS_UNIT_BITS {8 integer 1 64} }
    set properties(ipx_address_block) {
        BASE_ADDRESS {0 any}  BASE_ADDRESS_FORMAT {long any}  RANGE {4096 any}  RANGE_FORMAT {long any}
        WIDTH {32 integer 1 1024}  USAGE {register enum memory register reserved}  ACCESS {"" any}
        DESCRIPTION {"" text}  DISPLAY_NAME {"" text}
    }
    set properties(ipx_register) {
        ADDRESS_OFFSET {0 any}  SIZE {32 any}  ACCESS {"" any}  DESCRIPTION {"" text}  DISPLAY_NAME {"" text}
        RESET_VALUE {"" any}
    }
    set properties(ipx_field) {
        BIT_OFFSET {0 any}  BIT_WIDTH {1 any}  ACCESS {"" any}  DESCRIPTION {"" text}  DISPLAY_NAME {"" text}
    }
    set properties(ipx_port) { DIRECTION {"" readonly}  SIZE_LEFT {"" any}  SIZE_RIGHT {"" any}  DRIVER_VALUE {"" any} }
    set properties(ipx_file_group) { MODEL_NAME {"" any}  DISPLAY_NAME {"" text} }
    set properties(ipx_file) { TYPE {"" any}  LIBRARY_NAME {"" any}  USED_IN {"" any} }
    set properties(ipx_address_space) { RANGE {"" any}  WIDTH {"" any} }

    variable parameters {
        board.repoPaths general.maxThreads synth.maxThreads project.enableVHDL2008 messaging.defaultLimit
        place.debugShapeMapping xicom.use_bs_reader bd.enable_dpa
    }
}
