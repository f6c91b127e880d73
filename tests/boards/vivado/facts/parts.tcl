# Parts and boards. A board is known by its board_part (UG895), which fixes the part and holds the PS's preset.

namespace eval standin {
    variable part_family {}
    variable boards {}

    proc part {name family} { variable part_family; dict set part_family $name $family }

    # -from: first Vivado release that ships (or whose store holds) this file. -preset: what apply_board_preset
    # changes, of the parameters known here.
    proc board {board_part args} { variable boards; dict set boards $board_part $args }

    # DS890, DS891, DS190: ordering codes.
    part xczu9eg-ffvb1156-2-e zynquplus
    part xczu7ev-ffvc1156-2-e zynquplus
    part xck26-sfvc784-2LV-c zynquplus
    part xczu3eg-sbva484-1-e zynquplus
    part xczu3eg-sbva484-1-i zynquplus
    part xczu28dr-ffvg1517-2-e zynquplusRFSOC
    part xcu280-fsvh2892-2L-e virtexuplusHBM
    part xc7z020clg400-1 zynq
    part xc7z020clg484-1 zynq
    part xc7z010clg400-1 zynq

    # UG1182: 4 GB of DDR4 in a SODIMM; both HPM ports on, PL0 at 100 MHz.
    set zynqmp_preset {
        PSU__USE__M_AXI_GP0 1 PSU__USE__M_AXI_GP1 1 PSU__USE__M_AXI_GP2 0
        PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ 100 PSU__PSS_REF_CLK__FREQMHZ 33.330
    }
    board xilinx.com:zcu102:part0:3.3 -part xczu9eg-ffvb1156-2-e -from 2018.3 -ddr_mb 4096 -preset $zynqmp_preset
    board xilinx.com:zcu102:part0:3.4 -part xczu9eg-ffvb1156-2-e -from 2020.2 -ddr_mb 4096 -preset $zynqmp_preset
    # UG1267: 2 GB.
    board xilinx.com:zcu104:part0:1.1 -part xczu7ev-ffvc1156-2-e -from 2018.3 -ddr_mb 2048 -preset $zynqmp_preset
    # UG1089: 4 GB; the SOM and its carrier are two files.
    board xilinx.com:kv260_som:part0:1.3 -part xck26-sfvc784-2LV-c -from 2022.1 -ddr_mb 4096 -preset $zynqmp_preset
    board xilinx.com:kv260_som:part0:1.4 -part xck26-sfvc784-2LV-c -from 2022.2 -ddr_mb 4096 -preset $zynqmp_preset
    # UG1092: the same module on another carrier, which has both connectors.
    board xilinx.com:kr260_som:part0:1.0 -part xck26-sfvc784-2LV-c -from 2022.1 -ddr_mb 4096 -preset $zynqmp_preset
    board xilinx.com:kr260_som:part0:1.1 -part xck26-sfvc784-2LV-c -from 2022.2 -ddr_mb 4096 -preset $zynqmp_preset
    # UG1244, UG1271: 4 GB each at the processors.
    board xilinx.com:zcu106:part0:2.6 -part xczu7ev-ffvc1156-2-e -from 2020.2 -ddr_mb 4096 -preset $zynqmp_preset
    board xilinx.com:zcu111:part0:1.4 -part xczu28dr-ffvg1517-2-e -from 2020.2 -ddr_mb 4096 -preset $zynqmp_preset
    # Avnet, through the board store: 2 GB of LPDDR4; its preset says 33.333333 MHz.
    board avnet.com:ultra96v2:part0:1.2 -part xczu3eg-sbva484-1-i -from 2021.1 -ddr_mb 2048 \
        -preset [dict merge $zynqmp_preset {PSU__PSS_REF_CLK__FREQMHZ 33.333333}]
    # TUL, through the board store: 512 MB.
    board tul.com.tw:pynq-z2:part0:1.0 -part xc7z020clg400-1 -from 2018.3 -ddr_mb 512 \
        -preset {PCW_FPGA0_PERIPHERAL_FREQMHZ 100 PCW_USE_M_AXI_GP0 1}
    # Digilent, from its repository: 1 GB and 512 MB.
    board digilentinc.com:zybo-z7-20:part0:1.2 -part xc7z020clg400-1 -from 2018.3 -ddr_mb 1024 \
        -preset {PCW_FPGA0_PERIPHERAL_FREQMHZ 100 PCW_USE_M_AXI_GP0 1}
    board digilentinc.com:arty-z7-20:part0:1.1 -part xc7z020clg400-1 -from 2018.3 -ddr_mb 512 \
        -preset {PCW_FPGA0_PERIPHERAL_FREQMHZ 100 PCW_USE_M_AXI_GP0 1}

    # AMD's board store: the card's clocks and PCI Express; there is no processing system and no preset of one.
    set u280 {
        sysclk0 {diff_clock 100}  sysclk1 {diff_clock 100}  pcie_refclk {diff_clock 100}  pcie_perstn {reset}
        pci_express_x16 {pcie_7x_mgt}  pci_express_x8 {pcie_7x_mgt}  ddr4_sdram_c0 {ddr4}
    }
    board xilinx.com:au280:part0:1.1 -part xcu280-fsvh2892-2L-e -from 2020.1 -ddr_mb 0 -preset {} -interfaces $u280
    board xilinx.com:au280:part0:1.2 -part xcu280-fsvh2892-2L-e -from 2022.2 -ddr_mb 0 -preset {} -interfaces $u280

    # Values of board_connections: the carriers on the connectors of the SOM.
    variable board_connections {
        xilinx.com:kr260_som {
            som240_1_connector {
                xilinx.com:kr260_carrier:som240_1_connector:1.0 xilinx.com:kr260_carrier:som240_1_connector:1.1
            }
            som240_2_connector {
                xilinx.com:kr260_carrier:som240_2_connector:1.0 xilinx.com:kr260_carrier:som240_2_connector:1.1
            }
        }
        xilinx.com:kv260_som {som240_1_connector {
            xilinx.com:kv260_carrier:som240_1_connector:1.2
            xilinx.com:kv260_carrier:som240_1_connector:1.3
            xilinx.com:kv260_carrier:som240_1_connector:1.4
        }}
    }
}
