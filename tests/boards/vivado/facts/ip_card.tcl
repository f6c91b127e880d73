# What a PCI Express card with HBM needs: memory, DMA, buffers of clocks, crossings, gates.

namespace eval standin {
    # PG276 (AXI HBM Controller 1.0), as designs exported by Vivado for the U280 have it: 16 ports and 16 channels of
    # 256 MB to a stack; every port reaches every channel. APB pins are there without the APB interface too. A high
    # CATTRIP must reach the card (UG1314).
    variable hbm_parameters {
        USER_HBM_DENSITY {4GB enum 4GB 8GB}  USER_HBM_STACK {1 enum 1 2}  USER_MEMORY_DISPLAY {4096 any}
        USER_APB_EN {true boolean}  USER_XSDB_INTF_EN {FALSE boolean}
        USER_HBM_REF_CLK_0 {100 real 50 450}  USER_HBM_REF_CLK_1 {100 real 50 450}
        USER_SWITCH_ENABLE_00 {TRUE boolean}  USER_SWITCH_ENABLE_01 {FALSE boolean}
        USER_CLK_SEL_LIST0 {AXI_00_ACLK any}  USER_CLK_SEL_LIST1 {AXI_16_ACLK any}
        USER_AXI_INPUT_CLK_FREQ {450 real 100 450}  USER_AXI_INPUT_CLK1_FREQ {450 real 100 450}
    }
    for {set n 0} {$n < 32} {incr n} { lappend hbm_parameters USER_SAXI_[format %02d $n] {true boolean} }
    ip hbm [list versions {2018.3 1.0} parameters $hbm_parameters shape {
            set stacks $C(USER_HBM_STACK)
            for {set stack 0} {$stack < $stacks} {incr stack} {
                pin in HBM_REF_CLK_$stack clk wants $C(USER_HBM_REF_CLK_$stack)
                pin in APB_${stack}_PCLK clk at_most 100
                pin in APB_${stack}_PRESET_N rst active low clock APB_${stack}_PCLK
                pin out apb_complete_$stack data
                pin out DRAM_${stack}_STAT_CATTRIP data needed 1
                pin out DRAM_${stack}_STAT_TEMP data width 7
                if {![string is true $C(USER_SWITCH_ENABLE_0$stack)]} {
                    complain "switch $stack is off: a port then reaches its own channel alone"
                }
                set clocks {}
                for {set n [expr {16 * $stack}]} {$n < 16 * ($stack + 1)} {incr n} {
                    set name [format %02d $n]
                    if {![string is true $C(USER_SAXI_$name)]} continue
                    lappend clocks AXI_${name}_ACLK
                    pin in AXI_${name}_ACLK clk at_most 450
                    pin in AXI_${name}_ARESET_N rst active low clock AXI_${name}_ACLK
                    interface slave SAXI_$name aximm protocol AXI3 data 256 address 33 clocks AXI_${name}_ACLK
                    for {set m 0} {$m < 16 * $stacks} {incr m} {
                        segment SAXI_$name SAXI_$name/HBM_MEM[format %02d $m] [expr {$m << 28}] 256M memory
                    }
                }
                if {$C(USER_CLK_SEL_LIST$stack) ni $clocks} {
                    complain "USER_CLK_SEL_LIST$stack is $C(USER_CLK_SEL_LIST$stack), of a port that is off or in the other stack"
                }
            }
    }]

    # PG195 (DMA/Bridge Subsystem for PCI Express 4.1), DMA with memory mapped AXI. User interrupts are synchronous to
    # axi_aclk.
    ip xdma {
        versions {2018.3 4.1}
        parameters {
            PCIE_BOARD_INTERFACE {Custom any}  SYS_RST_N_BOARD_INTERFACE {Custom any}
            mode_selection {Basic enum Basic Advanced}  functional_mode {DMA enum DMA AXI_Bridge}
            pl_link_cap_max_link_speed {2.5_GT/s enum 2.5_GT/s 5.0_GT/s 8.0_GT/s 16.0_GT/s}
            pl_link_cap_max_link_width {X1 enum X1 X2 X4 X8 X16}
            axi_data_width {64_bit enum 64_bit 128_bit 256_bit 512_bit}  axisten_freq {250 enum 62.5 125 250}
            axilite_master_en {false boolean}  axilite_master_size {1 enum 1 2 4 8 16 32 64 128 256 512}
            axilite_master_scale {Megabytes enum Kilobytes Megabytes Gigabytes}
            pciebar2axibar_axil_master {0x0000000000000000 any}
            xdma_rnum_chnl {1 enum 1 2 3 4}  xdma_wnum_chnl {1 enum 1 2 3 4}  xdma_num_usr_irq {1 integer 1 16}
            xdma_axi_intf_mm {AXI_Memory_Mapped enum AXI_Memory_Mapped AXI_Stream}  cfg_mgmt_if {true boolean}
            pf0_device_id {903F any}  pf0_msix_enabled {true boolean}  en_gt_selection {false boolean}
            select_quad {GTY_Quad_227 any}  pcie_blk_locn {PCIE4C_X1Y0 any}
        }
        shape {
            on_board PCIE_BOARD_INTERFACE $C(PCIE_BOARD_INTERFACE) pcie_7x_mgt
            on_board SYS_RST_N_BOARD_INTERFACE $C(SYS_RST_N_BOARD_INTERFACE) reset
            pin in sys_clk clk
            pin in sys_clk_gt clk
            pin in sys_rst_n rst active low asynchronous 1 placed [expr {$C(SYS_RST_N_BOARD_INTERFACE) ne "Custom"}]
            pin out axi_aclk clk freq $C(axisten_freq)
            pin out axi_aresetn rst active low clock axi_aclk
            pin in usr_irq_req intr clock axi_aclk width $C(xdma_num_usr_irq)
            pin out usr_irq_ack data width $C(xdma_num_usr_irq)
            pin out user_lnk_up data
            interface master pcie_mgt pcie_7x_mgt external 1
            interface master M_AXI aximm protocol AXI4 data [lindex [split $C(axi_data_width) _] 0] address 64 \
                clocks axi_aclk space M_AXI
            if {[string is true $C(axilite_master_en)]} {
                interface master M_AXI_LITE aximm protocol AXI4LITE data 32 address 32 clocks axi_aclk space M_AXI_LITE
                set unit [dict get {Kilobytes K Megabytes M Gigabytes G} $C(axilite_master_scale)]
                aperture M_AXI_LITE $C(pciebar2axibar_axil_master) $C(axilite_master_size)$unit
            }
        }
    }

    # UG994. For a transceiver's reference clock a buffer has two outputs.
    ip util_ds_buf {
        versions {2017.1 2.1 2021.1 2.2}
        parameters {
            C_BUF_TYPE {IBUFDS enum IBUFDS OBUFDS IOBUFDS IBUFDSGTE OBUFDSGTE BUFG BUFG_GT}  C_SIZE {1 integer 1 128}
            DIFF_CLK_IN_BOARD_INTERFACE {Custom any}  USE_BOARD_FLOW {false boolean}
        }
        shape {
            on_board DIFF_CLK_IN_BOARD_INTERFACE $C(DIFF_CLK_IN_BOARD_INTERFACE) diff_clock
            interface slave CLK_IN_D diff_clock external 1
            pin out IBUF_OUT clk freq 100
            if {$C(C_BUF_TYPE) eq "IBUFDSGTE"} { pin out IBUF_DS_ODIV2 clk freq 100 }
        }
    }
    ip util_vector_logic {
        versions {2013.1 2.0}
        parameters { C_OPERATION {and enum and or xor not}  C_SIZE {8 integer 1 4096}  LOGO_FILE {"" any} }
        shape {
            pin in Op1 data width $C(C_SIZE)
            if {$C(C_OPERATION) ne "not"} { pin in Op2 data width $C(C_SIZE) }
            pin out Res data width $C(C_SIZE)
        }
    }

    # UG974 (XPM_CDC_SINGLE), as a cell: in Vivado 2021.1 and newer.
    ip xpm_cdc_gen {
        versions {2021.1 1.0}
        parameters {
            CDC_TYPE {xpm_cdc_single enum xpm_cdc_single xpm_cdc_array_single xpm_cdc_gray xpm_cdc_handshake xpm_cdc_pulse
                xpm_cdc_sync_rst xpm_cdc_async_rst}
            WIDTH {2 integer 1 1024}  DEST_SYNC_FF {4 integer 2 10}  SRC_INPUT_REG {true boolean}
            INIT_SYNC_FF {false boolean}  SIM_ASSERT_CHK {false boolean}
        }
        shape {
            if {$C(CDC_TYPE) ne "xpm_cdc_single"} { complain "the stand-in knows xpm_cdc_single alone" }
            pin in src_clk clk
            pin in src_in data carries_interrupt dest_out
            pin in dest_clk clk
            pin out dest_out data clock dest_clk carries_interrupt dest_out
        }
    }
}
