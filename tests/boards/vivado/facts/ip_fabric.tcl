# IP cells in the fabric: parameters {NAME {default kind ...}}, and what follows from them (array C): pins, interfaces.

namespace eval standin {
    # PG247 (SmartConnect 1.0). Resets the paths between its sides; adapts protocol, width and clock.
    ip smartconnect {
        versions {2017.1 1.0}
        parameters {
            NUM_SI {1 integer 1 16}  NUM_MI {1 integer 1 16}  NUM_CLKS {1 integer 1 17}  HAS_ARESETN {1 enum 0 1}
            ADVANCED_PROPERTIES {{} any}
        }
        shape {
            set clocks {}
            for {set i 0} {$i < $C(NUM_CLKS)} {incr i} {
                pin in aclk[expr {$i ? $i : ""}] clk
                lappend clocks aclk[expr {$i ? $i : ""}]
            }
            if {$C(HAS_ARESETN)} { pin in aresetn rst active low clock any }
            foreach {mode letter count} [list slave S $C(NUM_SI) master M $C(NUM_MI)] {
                for {set i 0} {$i < $count} {incr i} {
                    interface $mode [format %s%02d_AXI $letter $i] aximm adapts 1 clocks $clocks through 1
                }
            }
        }
    }

    # PG164 (Processor System Reset 5.0). Unconnected optional inputs are tied to their inactive level.
    ip proc_sys_reset {
        versions {2013.1 5.0}
        parameters {
            C_EXT_RST_WIDTH {4 integer 1 16}  C_AUX_RST_WIDTH {4 integer 1 16}  C_EXT_RESET_HIGH {0 enum 0 1}
            C_AUX_RESET_HIGH {0 enum 0 1}
            C_NUM_BUS_RST {1 integer 1 8}  C_NUM_PERP_RST {1 integer 1 16}  C_NUM_INTERCONNECT_ARESETN {1 integer 1 8}
            C_NUM_PERP_ARESETN {1 integer 1 16}  USE_BOARD_FLOW {false boolean}  RESET_BOARD_INTERFACE {Custom any}
        }
        shape {
            pin in slowest_sync_clk clk
            pin in ext_reset_in rst active any asynchronous 1
            pin in aux_reset_in rst active any asynchronous 1 tied 1
            pin in mb_debug_sys_rst rst active high asynchronous 1 tied 1
            pin in dcm_locked data tied 1
            pin out mb_reset rst active high clock slowest_sync_clk
            pin out bus_struct_reset rst active high clock slowest_sync_clk width $C(C_NUM_BUS_RST)
            pin out peripheral_reset rst active high clock slowest_sync_clk width $C(C_NUM_PERP_RST)
            pin out interconnect_aresetn rst active low clock slowest_sync_clk width $C(C_NUM_INTERCONNECT_ARESETN)
            pin out peripheral_aresetn rst active low clock slowest_sync_clk width $C(C_NUM_PERP_ARESETN)
        }
    }

    # PG065 (Clocking Wizard 6.0).
    ip clk_wiz {
        versions {2017.1 6.0}
        parameters {
            PRIM_IN_FREQ {100.000 real 10 1066}
            PRIM_SOURCE {Single_ended_clock_capable_pin enum
                Single_ended_clock_capable_pin Differential_clock_capable_pin Global_buffer No_buffer}
            PRIMITIVE {MMCM enum MMCM PLL Auto}  OPTIMIZE_CLOCKING_STRUCTURE_EN {false boolean}
            JITTER_SEL {No_Jitter enum No_Jitter Min_O_Jitter Max_I_Jitter}
            USE_LOCKED {true boolean}  USE_RESET {true boolean}  RESET_TYPE {ACTIVE_HIGH enum ACTIVE_HIGH ACTIVE_LOW}
            RESET_PORT {reset enum reset resetn}
            USE_PHASE_ALIGNMENT {false boolean}  USE_DYN_RECONFIG {false boolean}  NUM_OUT_CLKS {1 integer 1 7}
            USE_BOARD_FLOW {false boolean}  CLK_IN1_BOARD_INTERFACE {Custom any}
            CLKIN1_JITTER_PS {100.0 any}  USE_SAFE_CLOCK_STARTUP {false boolean}
            CLKOUT1_USED {true boolean}  CLKOUT2_USED {false boolean}  CLKOUT3_USED {false boolean}
            CLKOUT1_REQUESTED_OUT_FREQ {100.000 real 4.678 1066}  CLKOUT2_REQUESTED_OUT_FREQ {100.000 real 4.678 1066}
            CLKOUT3_REQUESTED_OUT_FREQ {100.000 real 4.678 1066}
            CLKOUT1_DRIVES {BUFG enum BUFG No_buffer BUFGCE Buffer Buffer_with_CE}  CLKOUT2_DRIVES {BUFG any}
            CLKOUT3_DRIVES {BUFG any}
            MMCM_CLKFBOUT_MULT_F {12.000 real 2 128}  MMCM_CLKOUT0_DIVIDE_F {12.000 real 1 128}
            MMCM_DIVCLK_DIVIDE {1 integer 1 106}
        }
        shape {
            on_board CLK_IN1_BOARD_INTERFACE $C(CLK_IN1_BOARD_INTERFACE) diff_clock $C(PRIM_IN_FREQ)
            set differential [expr {$C(PRIM_SOURCE) eq "Differential_clock_capable_pin"}]
            if {$differential} { interface slave CLK_IN1_D diff_clock external 1 } else { pin in clk_in1 clk }
            if {$C(USE_RESET)} {
                if {$C(RESET_TYPE) eq "ACTIVE_LOW"} { pin in resetn rst active low asynchronous 1 } else {
                    pin in reset rst active high asynchronous 1
                }
            }
            foreach i {1 2 3} {
                if {$C(CLKOUT${i}_USED)} {
                    set mhz $C(CLKOUT${i}_REQUESTED_OUT_FREQ)
                    pin out clk_out$i clk freq $mhz
                    if {!$differential} {
                        pin out clk_out$i clk freq $mhz derives clk_in1 expects $C(PRIM_IN_FREQ)
                    }
                }
            }
            if {$C(USE_LOCKED)} { pin out locked data }
        }
    }

    # Utility cells (UG994).
    ip xlconcat {
        versions {2013.1 2.1}
        parameters { NUM_PORTS {2 integer 1 128} }
        shape {
            for {set i 0} {$i < $C(NUM_PORTS)} {incr i} { pin in In$i data carries_interrupt dout }
            pin out dout data width $C(NUM_PORTS) carries_interrupt dout
        }
    }
    ip xlconstant {
        versions {2013.1 1.1}
        parameters { CONST_WIDTH {1 integer 1 4096}  CONST_VAL {1 any} }
        shape { pin out dout data width $C(CONST_WIDTH) }
    }

    # PG373 (AXI Register Slice 2.1).
    ip axi_register_slice {
        versions {2013.1 2.1}
        parameters {
            PROTOCOL {AXI4 enum AXI4 AXI3 AXI4LITE}  DATA_WIDTH {32 enum 32 64 128 256 512 1024}
            ADDR_WIDTH {32 integer 1 64}
            REG_AW {7 any}  REG_AR {7 any}  REG_W {1 any}  REG_R {1 any}  REG_B {7 any}
        }
        shape {
            pin in aclk clk
            pin in aresetn rst active low clock aclk
            foreach {mode name} {slave S_AXI master M_AXI} {
                interface $mode $name aximm \
                    protocol $C(PROTOCOL) data $C(DATA_WIDTH) address $C(ADDR_WIDTH) clocks aclk through 1
            }
        }
    }

    # PG099 (AXI Interrupt Controller 4.1). Its memory map is S_AXI, although the interface is s_axi. With
    # C_IRQ_CONNECTION 0 the output is a bus for a MicroBlaze instead of one wire.
    ip axi_intc {
        versions {2013.1 4.1}
        parameters {
            C_IRQ_CONNECTION {0 enum 0 1}  C_IRQ_IS_LEVEL {1 enum 0 1}  C_HAS_FAST {0 enum 0 1}
            C_NUM_SW_INTR {0 integer 0 31}
            C_ASYNC_INTR {0xFFFFFFFF any}  C_DISABLE_SYNCHRONIZERS {0 enum 0 1}  C_NUM_SYNC_FF {2 integer 0 7}
            C_ENABLE_ASYNC {0 enum 0 1}
            C_HAS_IPR {1 enum 0 1}  C_HAS_SIE {1 enum 0 1}  C_HAS_CIE {1 enum 0 1}  C_HAS_IVR {1 enum 0 1}
            C_HAS_ILR {0 enum 0 1}
            Sense_of_IRQ_Level_Type {Active_High enum Active_High Active_Low}
            Sense_of_IRQ_Edge_Type {Rising enum Rising Falling}
            C_KIND_OF_INTR {0xFFFFFFFF any}  C_KIND_OF_LVL {0xFFFFFFFF any}  C_KIND_OF_EDGE {0xFFFFFFFF any}
            C_EN_CASCADE_MODE {0 enum 0 1}
        }
        shape {
            pin in s_axi_aclk clk
            pin in s_axi_aresetn rst active low clock s_axi_aclk
            pin in intr intr
            interface slave s_axi aximm protocol AXI4LITE data 32 address 9 clocks s_axi_aclk
            segment s_axi S_AXI/Reg 0x0 64K register
            if {$C(C_IRQ_CONNECTION)} { pin out irq intr } else { interface master interrupt mbinterrupt }
        }
    }
}
